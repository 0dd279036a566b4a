//! Who may do what, and what the apiserver checks.

use anyhow::{Result, ensure};

use super::super::lab::{Lab, NAMESPACE};
use super::super::{Case, case};
use super::{manifest, refused};

pub(super) fn all() -> Vec<Case> {
    vec![
        case("access/a-role-allows-what-it-says-and-no-more", a_role_allows_what_it_says),
        case("access/a-token-is-reviewed", a_token_is_reviewed),
        case("access/a-lease-is-held-by-compare-and-swap", a_lease_is_compared),
        case("access/a-rule-compares-old-and-new", a_rule_compares_old_and_new),
        case("access/a-resource-is-scaled", a_resource_is_scaled),
    ]
}

fn reader_token(lab: &Lab) -> Result<String> {
    lab.kubectl_with("apply --filename=-", manifest!("access.yaml"))?;
    lab.kubectl("create token reader")
}

fn a_role_allows_what_it_says(lab: &Lab) -> Result<()> {
    let token = reader_token(lab)?;
    lab.kubectl(&format!("--token={token} get configmaps"))?;
    refused(lab.kubectl(&format!("--token={token} get secrets")), "Forbidden")?;
    refused(lab.kubectl(&format!("--token={token} delete configmaps --all")), "Forbidden")?;
    refused(lab.kubectl(&format!("--token={token} get configmaps -A")), "Forbidden")
}

fn a_token_is_reviewed(lab: &Lab) -> Result<()> {
    let review = |token: &str| {
        let text = format!(
            r#"{{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview",
                "spec":{{"token":"{token}"}}}}"#
        );
        let output =
            "create --filename=- --output=jsonpath={.status.authenticated}:{.status.user.username}";
        lab.kubectl_with(output, &text)
    };
    let who = review(&reader_token(lab)?)?;
    ensure!(who == format!("true:system:serviceaccount:{NAMESPACE}:reader"), "it is {who}");
    let who = review("forged")?;
    ensure!(!who.starts_with("true"), "a forged token is {who}");
    Ok(())
}

fn a_lease_is_compared(lab: &Lab) -> Result<()> {
    lab.kubectl_with("create --filename=-", manifest!("lease.yaml"))?;
    let read = lab.kubectl("get lease leader --output=json")?;
    lab.kubectl_with("replace --filename=-", &read.replace("\"first\"", "\"second\""))?;
    let late = lab.kubectl_with("replace --filename=-", &read.replace("\"first\"", "\"third\""));
    refused(late, "Conflict")?;
    let holder = lab.field("lease/leader", ".spec.holderIdentity")?;
    ensure!(holder == "second", "held by {holder}");
    Ok(())
}

fn shape(size: u8) -> String {
    format!(
        r#"{{"apiVersion":"suite.invalid/v1","kind":"Shape",
            "metadata":{{"name":"one"}},"spec":{{"size":{size}}}}}"#
    )
}

fn a_rule_compares_old_and_new(lab: &Lab) -> Result<()> {
    lab.kubectl_with("apply --filename=-", manifest!("shape.yaml"))?;
    lab.kubectl("wait --for=condition=Established crd/shapes.suite.invalid")?;
    lab.eventually("the new resource to be served", || {
        lab.kubectl_with("apply --filename=-", &shape(2))
    })?;
    lab.kubectl_with("apply --filename=-", &shape(3))?;
    refused(lab.kubectl_with("apply --filename=-", &shape(1)), "a shape does not shrink")
}

fn a_resource_is_scaled(lab: &Lab) -> Result<()> {
    lab.kubectl_with("apply --filename=-", manifest!("shape.yaml"))?;
    lab.eventually("the new resource to be served", || {
        lab.kubectl_with("apply --filename=-", &shape(3))
    })?;
    lab.kubectl("scale shape/one --replicas=4")?;
    let size = lab.field("shape/one", ".spec.size")?;
    ensure!(size == "4", "its size is {size}");
    Ok(())
}
