package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"forebay/node/nodetest"
)

// program finds a program that a test needs, also where only root looks.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing: run .ci/deps", name)
		}
		t.Skipf("%s is missing: make deps installs it", name)
	}
	return path
}

// TestBalancers: the programs themselves take the sample configurations, and
// run with them, under an ordinary limit of descriptors, keep each session on
// one of two nodes, whichever way it says which it is. nginx turns away from a
// node that the manual's way takes out of service, and back.
func TestBalancers(t *testing.T) {
	for _, b := range []struct {
		program, file string
		check, run    func(file, dir string) []string
	}{
		{"haproxy", "haproxy.cfg",
			func(file, _ string) []string { return []string{"-c", "-f", file} },
			func(file, _ string) []string { return []string{"-db", "-f", file} }},
		{"nginx", "nginx.conf",
			func(file, dir string) []string { return []string{"-t", "-p", dir, "-c", file} },
			func(file, dir string) []string { return []string{"-p", dir, "-c", file, "-g", "daemon off;"} }},
	} {
		t.Run(b.program, func(t *testing.T) {
			path := program(t, b.program)
			sample, err := filepath.Abs(filepath.Join("deploy", b.file))
			if err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), path, b.check(sample, t.TempDir())...).CombinedOutput(); err != nil {
				t.Fatalf("%s does not take %s: %v\n%s", b.program, b.file, err, out)
			}
			one, two := namedServer(t, "one"), namedServer(t, "two")
			addr := nodetest.FreeAddr(t)
			text := deployed(t, b.file)
			for from, to := range map[string]string{
				"10.0.0.1:7070": one, "10.0.0.2:7070": two, "bind :80": "bind " + addr, "listen 80": "listen " + addr,
				"check port 7071": "check",
			} {
				text = strings.Replace(text, from, to, 1)
			}
			dir := t.TempDir()
			file := filepath.Join(dir, b.file)
			write := func(text string) {
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			write(text)
			t.Run("20000 descriptors", func(t *testing.T) { runBalancer(t, 20_000, path, b.run(file, dir), addr) })
			balancer := runBalancer(t, 1024, path, b.run(file, dir), addr)
			sessionsStay(t, "http://"+addr)
			if b.program != "nginx" {
				return
			}
			for _, c := range []struct {
				text string
				both bool
			}{{strings.Replace(text, "server "+one, "server "+one+" down", 1), false}, {text, true}} {
				write(c.text)
				if err := balancer.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				nodetest.Eventually(t, waitLimit, func() bool {
					took := map[string]int{}
					for i := range 40 {
						took[answerOf("http://"+addr, fmt.Sprintf("session-%d", i), "")]++
					}
					// A connection that rests is closed by a reload, maybe as it is used again.
					return (took["one"] > 0) == c.both && took["two"] > 0 && took[""] == 0
				}, "sessions go to both nodes: %t", c.both)
			}
		})
	}
}

// namedServer is a node that answers with its name, and is ready.
func namedServer(t *testing.T, name string) (addr string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// runBalancer runs a program under a limit of open files until the test ends,
// and returns once it passes requests on.
func runBalancer(t *testing.T, files int, path string, args []string, addr string) *os.Process {
	var out bytes.Buffer
	cmd := exec.Command("sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, files), path}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var outcome error
	go func() { defer close(ended); outcome = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // gone already: ended tells
		<-ended
	})
	nodetest.Eventually(t, waitLimit, func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended: %v\n%s", path, outcome, out.String())
		default:
		}
		return answerOf("http://"+addr, "", "") != ""
	}, "%s passes requests on", path)
	return cmd.Process
}

// answerOf is the name of the node that a request went to, "" if to none.
func answerOf(url, header, query string) string {
	req, err := http.NewRequest(http.MethodPost, url+"/v1/events?session="+query, strings.NewReader("{}"))
	if err != nil {
		return err.Error()
	}
	if header != "" {
		req.Header.Set("X-Session-Id", header)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	var name bytes.Buffer
	if _, err := name.ReadFrom(res.Body); err != nil || res.StatusCode != http.StatusOK {
		return ""
	}
	return name.String()
}

func sessionsStay(t *testing.T, url string) {
	took := map[string]int{}
	for i := range 40 {
		session := fmt.Sprintf("session-%d", i)
		first := answerOf(url, session, "")
		took[first]++
		for _, again := range []string{answerOf(url, session, ""), answerOf(url, session, "other"), answerOf(url, "", session)} {
			if again != first || again == "" {
				t.Errorf("session %d went to %q, then to %q", i, first, again)
			}
		}
	}
	if took["one"] < 5 || took["two"] < 5 {
		t.Errorf("40 sessions went to %v: the nodes do not share them", took)
	}
	if by := answerOf(url, "", ""); by == "" || by != answerOf(url, "", "") {
		t.Error("requests without a session do not go by the client's address")
	}
}
