package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"forebay/node/nodetest"
)

// nobody is the user of the container image.
const nobody = 65532

// buildStatic builds the program as `make build` does, in the file name.
func buildStatic(t *testing.T, name string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=test", "-o", name, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}

// TestEmptyRoot runs the static binary as the image does: without rights, in a
// root directory that holds the binary, its configuration and its data alone.
func TestEmptyRoot(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("only root may change the root directory")
		}
		t.Skip("only root may change the root directory")
	}
	root, err := os.MkdirTemp("", "root") // t.TempDir's parent is closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	buildStatic(t, filepath.Join(root, "forebay"))
	data := filepath.Join(root, "data")
	if err := os.Mkdir(data, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	adminAddr := nodetest.FreeAddr(t)
	cfg := "node: {id: edge, data_dir: /data}\ningest: {listen: \"" + nodetest.FreeAddr(t) + "\"}\nadmin: {listen: \"" + adminAddr + "\"}\n" +
		"keys: {source: file, file: {path: /data/keys.yaml}}\n" +
		"shippers: {clickhouse: {enabled: false}, session: {enabled: false}, archive: {enabled: true, dir: /data/archive}}\n"
	if err := os.WriteFile(filepath.Join(root, "forebay.yaml"), []byte(cfg), 0o644); err != nil {
		t.Fatal(err)
	}
	inside := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "/forebay", args...)
		cmd.Dir, cmd.Env = "/", []string{}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return cmd
	}
	if out, err := inside("keys", "create", "--file", "/data/keys.yaml", "--project", "shop").CombinedOutput(); err != nil {
		t.Fatalf("keys create: %v\n%s", err, out)
	}
	var log strings.Builder
	run := inside("run", "--config", "/forebay.yaml")
	run.Stderr = &log
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	nodetest.Eventually(t, waitLimit, func() bool {
		out, err := inside("status", "--admin", adminAddr, "--json").Output()
		return err == nil && strings.Contains(strings.ReplaceAll(string(out), " ", ""), `"accepting":true`)
	}, "the node accepts")
	if err := run.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the node ends with %v\n%s", err, log.String())
	}
}
