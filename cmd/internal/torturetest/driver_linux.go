package torturetest

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// hold is something that is broken until it is lifted.
type hold struct {
	what string
	due  time.Time
	lift func()
}

// driver breaks things.
type driver struct {
	w       *world
	actions []action
	began   time.Time
	holds   map[string]hold // by target
	counts  map[string]int
	diary   []string
}

// fullDisk is the target of what fills the disk.
const fullDisk = "disk"

// maxDiary bounds how many lines of the diary are kept.
const maxDiary = 300

func newDriver(w *world) *driver {
	return &driver{w: w, actions: actions(w), began: time.Now(), holds: map[string]hold{}, counts: map[string]int{}}
}

// drive breaks things for a time and leaves nothing broken but what stays so: the bytes on the disk.
func (d *driver) drive(span time.Duration) {
	for n := 0; time.Since(d.began) < span; n++ {
		s := decide(d.w.seed, n, d.actions)
		d.wait(s.wait)
		d.take(n, s)
	}
	for target := range d.holds {
		d.lift(target)
	}
	// A node that was started on a full disk may still end of that.
	d.w.eventually("the node answers", func() (bool, string) {
		d.attend()
		_, err := d.w.status()
		return err == nil, fmt.Sprintf("%v; it said:\n%s", err, d.w.node.tail())
	})
}

// take makes one step, unless its target is broken already.
func (d *driver) take(n int, s step) {
	a := d.actions[s.action]
	if h, held := d.holds[a.target]; held && a.target != "" {
		d.note("step %d: not %s, while %s", n, a.name, h.what)
		return
	}
	begun := time.Now()
	lift, err := a.do(s.random)
	if err != nil {
		d.note("step %d: %s: %v", n, a.name, err)
		return
	}
	d.counts[a.name]++
	d.note("step %d: %s, for %s", n, a.name, s.lasts.Round(time.Millisecond))
	if lift != nil {
		d.holds[a.target] = hold{what: a.name, due: begun.Add(s.lasts), lift: lift}
	}
}

// wait lets time pass, ends what is due, and looks after the node.
func (d *driver) wait(span time.Duration) {
	end := time.NewTimer(span)
	defer end.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		for target, h := range d.holds {
			if time.Now().After(h.due) {
				d.lift(target)
			}
		}
		d.attend()
		select {
		case <-end.C:
			return
		case <-tick.C:
		}
	}
}

func (d *driver) lift(target string) {
	h := d.holds[target]
	delete(d.holds, target)
	d.note("end of: %s", h.what)
	if target == fullDisk {
		d.w.fullSince = time.Now()
	}
	h.lift()
}

// attend starts a node that has ended by itself. It may do that where it finds a full disk, and nowhere else.
func (d *driver) attend() {
	w := d.w
	if h, full := d.holds[fullDisk]; full && h.lift != nil {
		w.fullSince = time.Now()
	}
	w.peakMB = max(w.peakMB, residentMB(w.node.pid()))
	if _, held := d.holds["node"]; held || !w.node.ended() {
		return
	}
	if w.fullSince.Before(w.node.started) {
		w.book.problem("the node has ended by itself: %s\n%s", w.node.command.ProcessState, w.node.tail())
	}
	d.note("the node has ended by itself (%s): started again", w.node.command.ProcessState)
	d.counts["(the node ended on a full disk)"]++
	w.must(w.node.start())
}

func (d *driver) note(format string, args ...any) {
	line := fmt.Sprintf("%7.3f  ", time.Since(d.began).Seconds()) + fmt.Sprintf(format, args...)
	if d.diary = append(d.diary, line); len(d.diary) > maxDiary {
		d.diary = d.diary[1:]
	}
}

// diaryText is what was done, the last lines.
func (d *driver) diaryText() string { return strings.Join(d.diary, "\n") }

// freeze stops a process until the function it returns is called.
func freeze(pid func() int) (func(), error) {
	stopped := pid()
	if err := signalTree(stopped, syscall.SIGSTOP); err != nil {
		return nil, err
	}
	return func() { _ = signalTree(stopped, syscall.SIGCONT) }, nil // it may have been killed meanwhile
}
