package clickhousetest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	readyLimit = 30 * time.Second // slow machines under the race detector; usually well under a second
	stopLimit  = 30 * time.Second
	queryLimit = 60 * time.Second
)

// ErrMissing says that what should be started is not installed; `make deps` installs it.
var ErrMissing = errors.New("not installed: run make deps")

// instance is one ClickHouse on fixed ports and a fixed data directory, which can be killed and come back.
type instance struct {
	dir      string
	httpAddr string
	command  func() *exec.Cmd

	mutex   sync.Mutex // one start or end at a time
	process *process   // nil before the first start
}

// Dir is the directory that holds the configuration, the data and the output of the process.
func (i *instance) Dir() string { return i.dir }

// HTTPAddr is the host:port of the HTTP interface. It stays the same across Restart.
func (i *instance) HTTPAddr() string { return i.httpAddr }

// Kill ends the process with SIGKILL and returns when it is gone. Killing one that is down is fine.
func (i *instance) Kill() error {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	return i.end(syscall.SIGKILL)
}

// Restart starts the process again on the same data and ports, killing it first if it runs, and returns when it
// answers.
func (i *instance) Restart() error {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	if err := i.end(syscall.SIGKILL); err != nil {
		return err
	}
	return i.start()
}

// Running says whether the process is alive.
func (i *instance) Running() bool {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	if i.process == nil {
		return false
	}
	select {
	case <-i.process.done:
		return false
	default:
		return true
	}
}

// PID is the process's number, 0 if it does not run: for a test that stops it with signals.
func (i *instance) PID() int {
	if !i.Running() {
		return 0
	}
	return i.process.command.Process.Pid
}

func (i *instance) start() error {
	process, err := startProcess(i.dir, i.command())
	if err != nil {
		return err
	}
	i.process = process
	err = process.waitReady(readyLimit, func() error {
		_, err := i.request(http.MethodGet, "/ping", "")
		return err
	})
	if err != nil {
		return errors.Join(err, i.end(syscall.SIGKILL))
	}
	return nil
}

func (i *instance) end(signal syscall.Signal) error {
	if i.process == nil {
		return nil
	}
	return i.process.signal(signal, stopLimit)
}

// Query runs SQL over HTTP as the default user and returns the answer as tab-separated text without the last newline.
// It is independent of the product's driver, so an oracle built on it shares no fault with what it judges. The error
// holds the server's exception text.
func (i *instance) Query(sql string) (string, error) {
	return i.request(http.MethodPost, "/", sql)
}

// MustQuery is Query for a test that has no use for the error.
func (i *instance) MustQuery(tb testing.TB, sql string) string {
	tb.Helper()
	answer, err := i.Query(sql)
	if err != nil {
		tb.Fatalf("query %q: %v", sql, err)
	}
	return answer
}

func (i *instance) request(method, path, body string) (string, error) {
	client := &http.Client{Timeout: queryLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequest(method, "http://"+i.httpAddr+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(string(answer), "\n")
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %s", response.StatusCode, text)
	}
	return text, nil
}

// portsTried counts the ports that this process has looked at.
var portsTried atomic.Int64

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on. It lies below the range from which the system
// serves outgoing connections, so it is still free when a server that was killed comes back to it. Processes begin
// ports apart, so that two that look at the same time do not find the same one.
func FreePort() (int, error) {
	const lowest, count, apart, attempts = 20000, 12000, 97, 100
	for range attempts {
		port := lowest + (apart*os.Getpid()+int(portsTried.Add(1)))%count
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		return port, listener.Close()
	}
	return 0, fmt.Errorf("no free port among %d tried from %d on", attempts, lowest)
}

func freeAddr() (string, error) {
	port, err := FreePort()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

// launched turns the outcome of a launch into a skip, a failure or a running instance that ends with the test.
func launched(tb testing.TB, i *instance, err error) {
	tb.Helper()
	switch {
	case errors.Is(err, ErrMissing) && !inCI():
		tb.Skip(err)
	case err != nil:
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := i.Kill(); err != nil {
			tb.Errorf("end ClickHouse: %v", err)
		}
		if tb.Failed() && i.process != nil {
			tb.Logf("ClickHouse in %s printed at the end: %s", i.dir, i.process.tail())
		}
	})
}
