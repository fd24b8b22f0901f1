package clickhousetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// process is a server run as a child. Its output goes to a file, so a server that never starts can say why.
type process struct {
	command *exec.Cmd
	output  string // path of the file
	done    chan struct{}
}

// startProcess starts the command, with its output appended to a file in dir.
func startProcess(dir string, command *exec.Cmd) (*process, error) {
	p := &process{command: command, output: filepath.Join(dir, "output.log"), done: make(chan struct{})}
	output, err := os.OpenFile(p.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	command.Stdout, command.Stderr = output, output

	started := make(chan error)
	go func() {
		// The child dies with the thread that started it (see dieWithParent), so the thread is kept until the child ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer output.Close()
		dieWithParent(command)
		if err := command.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = command.Wait() // killed processes end with an error, which is what was asked for
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", command.Path, err)
	}
	return p, nil
}

// signal sends the signal and waits until the process has ended; past the limit it is killed and an error returned.
// A process that has ended already is fine.
func (p *process) signal(signal syscall.Signal, limit time.Duration) error {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	}
	err := fmt.Errorf("process %d did not end within %v of %v", p.command.Process.Pid, limit, signal)
	_ = p.command.Process.Kill()
	<-p.done
	return err
}

// tail returns the end of what the process printed.
func (p *process) tail() string {
	const most = 4 << 10
	output, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	return string(output[max(0, len(output)-most):])
}

// waitReady polls until ready says so, the process ends, or the limit passes.
func (p *process) waitReady(limit time.Duration, ready func() error) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready; it printed: %s", filepath.Base(p.command.Path), p.tail())
		case <-timer.C:
			return fmt.Errorf("%s is not ready after %v (%w); it printed: %s", filepath.Base(p.command.Path), limit, err, p.tail())
		case <-ticker.C:
		}
	}
}
