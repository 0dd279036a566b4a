module flare-operator.invalid/e2e/cluster/pods

go 1.26.0
