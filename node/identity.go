package node

import (
	"context"
	"log/slog"
	"sync/atomic"

	"forebay/wal"
)

// newLogger makes every line of the node and its parts carry the node's label
// and, from when it is known, the log's identity: lines of many nodes end in
// one place.
func (n *Node) newLogger(l *slog.Logger) *slog.Logger {
	return slog.New(identified{l.With("node", n.cfg.Node.ID).Handler(), &n.logID})
}

// identify says which log this is.
func (n *Node) identify(id wal.ID) {
	text := id.String()
	n.logID.Store(&text)
}

// identified adds the log's identity to each record. It cannot be an attribute
// of the logger: parts that open before the log is known have theirs already.
type identified struct {
	slog.Handler
	logID *atomic.Pointer[string]
}

func (h identified) Handle(ctx context.Context, r slog.Record) error {
	if id := h.logID.Load(); id != nil {
		r = r.Clone()
		r.AddAttrs(slog.String("log_id", *id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h identified) WithAttrs(attrs []slog.Attr) slog.Handler {
	return identified{h.Handler.WithAttrs(attrs), h.logID}
}

func (h identified) WithGroup(name string) slog.Handler {
	return identified{h.Handler.WithGroup(name), h.logID}
}
