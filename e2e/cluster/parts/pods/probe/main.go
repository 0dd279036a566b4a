// Command probe is what the suite of the test cluster runs in its pods: a server that says who
// it is, and one command for each thing that the suite wants to see from inside a pod.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `usage:
  probe serve                answer every request on :8080 with the host's name; /file/PATH with a file
  probe get URL              print what a server answers
  probe lookup NAME          print the addresses of a name, one per line
  probe write PATH TEXT      write a file, synced to its disk
  probe read PATH            print a file
  probe filesystem PATH      print the kind of file system that holds a folder
  probe id                   print the numeric user and group
  probe end                  end the container that this is run in`

// requestDeadline bounds each command that waits for the network. Rules for a Service reach a
// node within a second; a name may be cached as missing for five.
const requestDeadline = 20 * time.Second

// tmpfsMagic is what statfs(2) gives for a file system in memory.
const tmpfsMagic = 0x01021994

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestDeadline)
	defer cancel()
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve()
	case len(args) == 2 && args[0] == "get":
		return get(ctx, args[1])
	case len(args) == 2 && args[0] == "lookup":
		return lookup(ctx, args[1])
	case len(args) == 3 && args[0] == "write":
		return write(args[1], args[2])
	case len(args) == 2 && args[0] == "read":
		text, err := os.ReadFile(args[1])
		fmt.Print(string(text))
		return err
	case len(args) == 2 && args[0] == "filesystem":
		return filesystem(args[1])
	case len(args) == 1 && args[0] == "id":
		fmt.Printf("%d:%d\n", os.Getuid(), os.Getgid())
		return nil
	case len(args) == 1 && args[0] == "end":
		return syscall.Kill(1, syscall.SIGTERM)
	}
	return errors.New(usage)
}

func serve() error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /file/", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, strings.TrimPrefix(r.URL.Path, "/file"))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) })
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: requestDeadline}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		<-ended.Done()
		server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

func lookup(ctx context.Context, name string) error {
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	for _, address := range addresses {
		fmt.Println(address)
	}
	return err
}

func write(path, text string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	return file.Sync()
}

func filesystem(path string) error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(path, &stat); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if stat.Type == tmpfsMagic {
		fmt.Println("memory")
	} else {
		fmt.Printf("disk %#x\n", stat.Type)
	}
	return nil
}
