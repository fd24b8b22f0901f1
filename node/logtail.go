package node

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"

	"forebay/node/admin"
)

// Bounds of what is kept of the node's own log for operators.
const (
	logTailLines     = 500
	logTailLineBytes = 4096 // bytes; of a longer one only time, level and message are kept
	logTailWatchers  = 32
	logTailQueue     = 256 // lines that wait for a slow watcher
)

// logTail keeps the last lines that the node logged, from level info on, and
// hands new ones to whoever watches. A watcher that is too slow misses some;
// nobody who logs waits for it.
type logTail struct {
	mu       sync.Mutex
	lines    []admin.RawJSON // oldest first
	watchers map[chan admin.RawJSON]struct{}
}

func newLogTail() *logTail { return &logTail{watchers: map[chan admin.RawJSON]struct{}{}} }

// beside returns a logger that writes to the tail what it writes to h.
func (t *logTail) beside(h slog.Handler) *slog.Logger {
	return slog.New(both{h, slog.NewJSONHandler(t, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: LogAttr})})
}

// LogAttr has the node's lines of JSON show durations as people read them, such
// as 5m42s, and not in nanoseconds. It is for slog.HandlerOptions.
func LogAttr(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// Write takes one line of JSON, as slog's handler writes them.
func (t *logTail) Write(line []byte) (int, error) {
	text := admin.RawJSON(strings.TrimSuffix(string(line), "\n"))
	if len(text) > logTailLineBytes {
		text = shortLine(text)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == logTailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, text)
	for w := range t.watchers {
		select {
		case w <- text:
		default:
		}
	}
	return len(line), nil
}

func shortLine(text []byte) admin.RawJSON {
	var line struct {
		Time  string `json:"time"`
		Level string `json:"level"`
		Msg   string `json:"msg"`
		Cut   bool   `json:"cut"`
	}
	if err := json.Unmarshal(text, &line); err != nil {
		return admin.RawJSON(`{"level":"WARN","msg":"a log line could not be kept"}`)
	}
	line.Msg, line.Cut = strings.ToValidUTF8(line.Msg[:min(len(line.Msg), logTailLineBytes/2)], ""), true
	short, err := json.Marshal(line)
	if err != nil {
		return admin.RawJSON(`{"level":"WARN","msg":"a log line could not be kept"}`)
	}
	return short
}

// LogLines implements admin.LogTail.
func (t *logTail) LogLines() []admin.RawJSON {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]admin.RawJSON{}, t.lines...)
}

// WatchLog implements admin.LogTail.
func (t *logTail) WatchLog() (lines <-chan admin.RawJSON, stop func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.watchers) >= logTailWatchers {
		return nil, func() {}, false
	}
	c := make(chan admin.RawJSON, logTailQueue)
	t.watchers[c] = struct{}{}
	return c, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.watchers, c)
	}, true
}

// both is a handler that writes to two.
type both struct{ first, second slog.Handler }

func (b both) Enabled(ctx context.Context, level slog.Level) bool {
	return b.first.Enabled(ctx, level) || b.second.Enabled(ctx, level)
}

func (b both) Handle(ctx context.Context, r slog.Record) (err error) {
	for _, h := range []slog.Handler{b.first, b.second} {
		if h.Enabled(ctx, r.Level) {
			err = errors.Join(err, h.Handle(ctx, r.Clone()))
		}
	}
	return err
}

func (b both) WithAttrs(attrs []slog.Attr) slog.Handler {
	return both{b.first.WithAttrs(attrs), b.second.WithAttrs(attrs)}
}

func (b both) WithGroup(name string) slog.Handler {
	return both{b.first.WithGroup(name), b.second.WithGroup(name)}
}
