package torturetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program that is started again and again. Its output, of all its lives, goes to one file.
type process struct {
	name   string
	args   []string
	output string // path of the file

	lives   int
	started time.Time
	command *exec.Cmd
	exited  chan struct{} // closed once it has ended
}

// start begins a new life. The child dies with this process.
func (p *process) start() error {
	output, err := os.OpenFile(p.output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	command := exec.Command(p.args[0], p.args[1:]...)
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// A race is fatal at once: a process that is killed later has no exit status to tell of it.
	command.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	exited, started := make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread() // the death signal is the thread's
		defer runtime.UnlockOSThread()
		defer output.Close()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // whoever waits for exited looks at the state
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.command, p.exited, p.started = command, exited, time.Now()
	p.lives++
	return nil
}

// pid is 0 once the process has ended.
func (p *process) pid() int {
	if p.command == nil || p.ended() {
		return 0
	}
	return p.command.Process.Pid
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// kill ends the process at once; one that has ended is fine.
func (p *process) kill() {
	if p.command != nil {
		_ = p.command.Process.Kill() // it may be gone
		<-p.exited
	}
}

// stop asks the process to end and reports how it did.
func (p *process) stop(limit time.Duration) error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s has ended before it was told to: %s", p.name, p.command.ProcessState)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		_ = p.command.Process.Signal(syscall.SIGQUIT) // its goroutines, into the output
		<-p.exited
		return fmt.Errorf("%s did not stop within %s", p.name, limit)
	}
	if !p.command.ProcessState.Success() {
		return fmt.Errorf("%s stopped with %s", p.name, p.command.ProcessState)
	}
	return nil
}

// killedBy says whether the process, which has ended, was ended by the signal.
func (p *process) killedBy(signal syscall.Signal) bool {
	status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == signal
}

// tail is the end of what the process printed.
func (p *process) tail() string {
	const most = 6 << 10
	text, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// alarming returns what of the output no program should ever print.
func (p *process) alarming() []string {
	text, err := os.ReadFile(p.output)
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for _, sign := range []string{"DATA RACE", "panic:", "fatal error:", "BUG:"} {
		if at := strings.Index(string(text), sign); at >= 0 {
			found = append(found, string(text[max(0, at-200):min(len(text), at+3000)]))
		}
	}
	return found
}

// signalTree signals a process and its children. Those that have gone meanwhile are fine.
func signalTree(pid int, signal syscall.Signal) error {
	if pid == 0 {
		return errors.New("it does not run")
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return err
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for child := range strings.FieldsSeq(string(text)) {
			if number, err := strconv.Atoi(child); err == nil {
				_ = syscall.Kill(number, signal)
			}
		}
	}
	return syscall.Kill(pid, signal)
}

// residentMB is the memory of a process in MB, 0 if it is gone.
func residentMB(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kb, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kb / 1024
		}
	}
	return 0
}

// openFiles lists what a process has open, by the paths.
func openFiles(pid int) []string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var paths []string
	for _, e := range entries {
		if path, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}
