package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"forebay/node/nodetest"
)

// fullPipe is a pipe into which nothing more fits.
func fullPipe(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
	}
	if err := syscall.SetNonblock(fds[1], true); err != nil {
		t.Fatal(err)
	}
	for size := 4096; size > 0; {
		if _, err := syscall.Write(fds[1], bytes.Repeat([]byte{'\n'}, size)); errors.Is(err, syscall.EAGAIN) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.SetNonblock(fds[1], false); err != nil {
		t.Fatal(err)
	}
	reader, writer = os.NewFile(uintptr(fds[0]), "reader"), os.NewFile(uintptr(fds[1]), "writer")
	t.Cleanup(func() { _ = errors.Join(reader.Close(), writer.Close()) }) // the test may have closed them
	return reader, writer
}

// gonePipe is a pipe that nobody reads any more.
func gonePipe(t *testing.T) *os.File {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err == nil {
		err = reader.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = writer.Close() })
	return writer
}

// fullFile is a file on a disk without space.
func fullFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// startWith starts the node with its output going there.
func (p *process) startWith(out, errOut *os.File) {
	p.tb.Helper()
	cmd := exec.Command("forebay", "run", "--config", p.config)
	if out != nil { // a nil *os.File is no nil io.Writer
		cmd.Stdout = out
	}
	if errOut != nil {
		cmd.Stderr = errOut
	}
	p.startCmd(cmd)
}

// metric is the value of one of the node's metrics, which has no labels of its own.
func (p *process) metric(name string) string {
	p.tb.Helper()
	res, err := http.Get("http://" + p.adminAddr + "/metrics")
	if err != nil {
		p.tb.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.tb.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + `(?:\{[^}]*\})? (.*)$`).FindSubmatch(text)
	if m == nil {
		p.tb.Fatalf("there is no metric %s", name)
	}
	return string(m[1])
}

// hangUp has the node say a line.
func (p *process) hangUp() {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		p.tb.Fatal(err)
	}
}

// check is the reason why a check of the node is not in order, empty if it is.
func (p *process) check(name string) string {
	p.tb.Helper()
	s, err := p.admin.Status(context.Background())
	if err != nil {
		p.tb.Fatal(err)
	}
	for _, c := range s.Checks {
		if c.Name == name && !c.OK {
			return c.Reason
		}
	}
	return ""
}

// TestNobodyReadsTheOutput: whatever becomes of the readers of standard output and
// error, the node takes, ships, answers, says that it is not read, and stops well.
func TestNobodyReadsTheOutput(t *testing.T) {
	t.Parallel()
	for name, output := range map[string]func(*testing.T) *os.File{
		"stands still": func(t *testing.T) *os.File { _, w := fullPipe(t); return w },
		"is gone":      gonePipe,
		"has no space": fullFile,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProcess(t, "shippers: {clickhouse: {enabled: false}, session: {enabled: false}, archive: {enabled: true, flush: {age: 20ms}}}\n")
			out := output(t)
			p.startWith(out, out)
			for range 20 {
				p.hangUp()
			}
			nodetest.Eventually(t, waitLimit, func() bool {
				return strings.Contains(p.check("log"), "standard error takes no lines")
			}, "the node says that nobody reads it")
			body := fmt.Sprintf(`{"events":[{"eventType":"click","timestamp":%q,"sessionId":"a","route":"/","target":{"type":"page"}}]}`, now())
			if r, err := p.post(http.DefaultClient, []byte(body)); err != nil || r.Accepted != 1 {
				t.Errorf("got %+v, %v", r, err)
			}
			p.settled()
			if p.metric("forebay_log_lines_lost_total") == "0" && p.metric("forebay_log_lines_waiting") == "0" {
				t.Error("no line is counted as lost or waiting")
			}
			p.stop()
		})
	}
}

// TestOutputIsReadAgain: a reader that goes on has the lines that waited, in
// order, and those of the end.
func TestOutputIsReadAgain(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "shippers: {clickhouse: {enabled: false}, session: {enabled: false}, archive: {enabled: true}}\n")
	reader, writer := fullPipe(t)
	p.startWith(nil, writer)
	nodetest.Eventually(t, waitLimit, func() bool { return p.check("log") != "" }, "the node says that nobody reads it")
	if err := writer.Close(); err != nil { // the node has its own
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Error(err)
		}
		read <- string(text)
	}()
	nodetest.Eventually(t, waitLimit, func() bool { return p.check("log") == "" }, "the node is read again")
	p.stop()
	text := <-read
	at := 0
	for _, line := range []string{`"msg":"node runs"`, `"msg":"not in order"`, `"msg":"in order again"`, `"msg":"node stops"`} {
		i := strings.Index(text[at:], line)
		if i < 0 {
			t.Fatalf("there is no %s, or not in this order:\n%s", line, strings.TrimLeft(text, "\n"))
		}
		at += i
	}
}

// TestWithoutStandardFiles: a node that is started with all of them closed runs.
func TestWithoutStandardFiles(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "shippers: {clickhouse: {enabled: false}, session: {enabled: false}, archive: {enabled: true}}\n")
	p.startCmd(exec.Command("sh", "-c", `exec "$0" run --config "$1" <&- >&- 2>&-`, "forebay", p.config))
	p.hangUp()
	p.stop()
}
