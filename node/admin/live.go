package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"forebay/router"
)

// What the live stream can tell of, and the names of its events.
const (
	statusEvent = "status" // a Status, each second
	lineEvent   = "log"    // a line of the node's own log, as JSON
)

// liveTopics are what ?topics= may name.
var liveTopics = []string{"status", "drops", "log"}

// statusEvery is how often the live stream tells the status.
const statusEvery = time.Second

// LogTail shows the last lines of the node's own log, each one JSON object.
// They hold neither secrets nor values of events, since nothing logged does.
type LogTail interface {
	LogLines() []RawJSON // the oldest first
	WatchLog() (lines <-chan RawJSON, stop func(), ok bool)
}

// logLines answers with the last lines of the node's own log.
func (a *api) logLines(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
	a.lines(w, r, func(line func(any) error) error {
		if a.Lines == nil {
			return errNoLines
		}
		for _, l := range a.Lines.LogLines() {
			if err := line(l); err != nil {
				return err
			}
		}
		return nil
	})
}

var errNoLines = refuse(http.StatusUnprocessableEntity, "the node is stopped: its log lines are only remembered while it runs")

// live is all that the console follows in one stream, since a browser opens
// only six connections to a host: ?topics=status,drops,log, or all three.
func (a *api) live(ctx context.Context, r *http.Request, s *stream) error {
	topics := liveTopics
	if text := r.URL.Query().Get("topics"); text != "" {
		topics = strings.Split(text, ",")
	}
	for _, topic := range topics {
		if !slices.Contains(liveTopics, topic) {
			return refuse(http.StatusBadRequest, "topics=%q: there are %s", topic, strings.Join(liveTopics, ", "))
		}
	}
	var f feeds
	defer f.stop()
	if err := f.watch(a, topics); err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	if slices.Contains(topics, "status") {
		tick := time.NewTicker(statusEvery)
		defer tick.Stop()
		f.ticks = tick.C
		if err := s.write(statusEvent, a.Node.Status()); err != nil {
			return err
		}
	}
	return f.pass(ctx, a, s)
}

// feeds are what a live stream waits for. A nil channel never has anything.
type feeds struct {
	ticks    <-chan time.Time
	drops    <-chan router.Drop
	lines    <-chan RawJSON
	stops    []func()
	nextDrop uint64
}

func (f *feeds) watch(a *api, topics []string) error {
	busy := refuse(http.StatusServiceUnavailable, "as many operators watch as can: end one of their streams")
	if slices.Contains(topics, "drops") {
		drops, err := a.dropped()
		if err != nil {
			return err
		}
		watched, stop, ok := drops.WatchDrops()
		if !ok {
			return busy
		}
		f.drops, f.stops = watched, append(f.stops, stop)
	}
	if slices.Contains(topics, "log") {
		if a.Lines == nil {
			return errNoLines
		}
		watched, stop, ok := a.Lines.WatchLog()
		if !ok {
			return busy
		}
		f.lines, f.stops = watched, append(f.stops, stop)
	}
	return nil
}

func (f *feeds) stop() {
	for _, stop := range f.stops {
		stop()
	}
}

// pass sends what comes until ctx ends. Whatever is waiting goes out together.
func (f *feeds) pass(ctx context.Context, a *api, s *stream) error {
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-s.beat.C:
			err = s.alive()
		case <-f.ticks:
			err = s.write(statusEvent, a.Node.Status())
		case d := <-f.drops:
			err = f.drop(s, d)
		case l := <-f.lines:
			err = s.write(lineEvent, l)
		}
		if err == nil && len(f.drops)+len(f.lines) == 0 {
			err = s.flush()
		}
		if err != nil {
			return err
		}
	}
}

// drop sends a drop, and before it how many were missed.
func (f *feeds) drop(s *stream, d router.Drop) error {
	if f.nextDrop != 0 && d.Number != f.nextDrop {
		if err := s.write(missedEvent, Missed{Drops: d.Number - f.nextDrop}); err != nil {
			return err
		}
	}
	f.nextDrop = d.Number + 1
	return s.write(dropEvent, d)
}
