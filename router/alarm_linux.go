package router

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// maxFineTimers bounds the file descriptors of fine timers. Where more waits
// end at once the process is busy, and then the runtime's timers are good
// enough: it looks at them all the time.
const maxFineTimers = 64

// fineTimers wait for less than a millisecond, which the runtime's timers
// cannot do in an idle process: the kernel's timers make a file readable, and
// the runtime's poller wakes who reads it.
type fineTimers struct {
	used atomic.Int64
	free sync.Pool // of *fineTimer
}

type fineTimer struct {
	fd   int      // of file, whose own method would make it block a thread
	file *os.File // closed when it is collected
}

func newFineTimer() *fineTimer {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil // no descriptors left, for one
	}
	return &fineTimer{fd: fd, file: os.NewFile(uintptr(fd), "timer")}
}

// wait returns once d has passed. It returns false, at once, if it has no timer
// for that.
func (f *fineTimers) wait(d time.Duration) bool {
	defer f.used.Add(-1)
	if f.used.Add(1) > maxFineTimers {
		return false
	}
	t, _ := f.free.Get().(*fineTimer)
	if t == nil {
		t = newFineTimer()
	}
	if t == nil {
		return false
	}
	err := unix.TimerfdSettime(t.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
	if err == nil {
		var expirations [8]byte
		_, err = t.file.Read(expirations[:])
	}
	if err != nil {
		_ = t.file.Close()
		return false
	}
	f.free.Put(t)
	return true
}
