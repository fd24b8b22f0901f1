package torturetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"syscall"
	"time"

	"forebay/node/admin"
	"forebay/router/auth/postgres"
	"forebay/shipper/session/receiver"
)

// operator is who pauses cursors; those that pause by themselves are not to be resumed.
const operator = "torture"

// commandLimit bounds a command to something that may be frozen.
const commandLimit = 2 * time.Second

// action is one way to make trouble. What has a duration returns how it is ended, and holds its target until then: of
// two actions with one target, only one is under way. An action that could not be done says so with an error.
type action struct {
	name   string
	weight int
	target string // "": nothing is held
	do     func(*rand.Rand) (lift func(), err error)
}

// actions are all that the driver may do in this world.
func actions(w *world) []action {
	all := []action{
		{"kill the node", 6, "node", w.killNode},
		{"stop the node", 2, "node", w.stopNode},
		{"freeze the node", 3, "node", func(*rand.Rand) (func(), error) { return freeze(w.node.pid) }},
		{"damage the log", 2, "node", w.damageLog},
		{"kill the receiver", 4, toReceiver, w.killReceiver},
		{"freeze the receiver", 3, toReceiver, func(*rand.Rand) (func(), error) { return freeze(w.receiver.pid) }},
		{"have the receiver refuse", 3, "receiver's mood", w.refuse},
		{"kill ClickHouse", 3, toClickHouse, w.killClickHouse},
		{"freeze ClickHouse", 3, toClickHouse, func(*rand.Rand) (func(), error) { return freeze(w.clickhouse.PID) }},
		{"kill PostgreSQL", 1, toPostgres, w.killPostgres},
		{"freeze PostgreSQL", 1, toPostgres, func(*rand.Rand) (func(), error) { return freeze(w.postgres.PID) }},
		{"revoke a key", 2, "", w.revokeKey},
		{"pause a cursor", 3, "", w.pauseCursor},
		{"resume a cursor", 2, "", w.resumeCursor},
		{"step a cursor", 2, "", w.stepCursor},
		{"rewind a cursor", 3, "", w.rewindCursor},
		{"undo a rewind", 1, "", w.undoRewind},
		{"replay a part of the log", 1, "", w.replay},
		{"cancel a replay", 1, "", w.cancelReplay},
		{"audit a cursor", 1, "", w.audit},
		{"reload the configuration", 1, "", w.reload},
	}
	if w.small {
		all = append(all, action{"fill the disk", 3, fullDisk, w.fillDisk})
	}
	for _, end := range []string{toNode, toClickHouse, toReceiver, toPostgres} {
		link, target := w.links[end], "link to "+end
		all = append(all,
			action{"cut the " + target, 2, "", func(r *rand.Rand) (func(), error) {
				// At once, or when so many more bytes have passed.
				switch n := r.Int64N(20_000); r.IntN(3) {
				case 0:
					link.Cut()
				case 1:
					link.CutAfterSent(n)
				default:
					link.CutAfterReceived(n % 500)
				}
				return nil, nil
			}},
			action{"take down the " + target, 1, target, func(*rand.Rand) (func(), error) { link.Down(); return link.Up, nil }},
			action{"hold back the " + target, 1, target, func(*rand.Rand) (func(), error) { link.Pause(); return link.Resume, nil }},
			action{"slow the " + target, 1, target, func(r *rand.Rand) (func(), error) {
				link.Slow(time.Duration(1+r.IntN(60)) * time.Millisecond)
				return func() { link.Slow(0) }, nil
			}})
	}
	return all
}

func (w *world) startNode() { w.must(w.node.start()) }

func (w *world) killNode(*rand.Rand) (func(), error) {
	w.node.kill()
	return w.startNode, nil
}

// stopNode ends the node in order. It has to end well whatever is broken around it.
func (w *world) stopNode(*rand.Rand) (func(), error) {
	if w.node.ended() {
		return nil, errors.New("it has ended")
	}
	// A signal that comes before the program has asked for signals ends it at once, as it would any program.
	young := time.Since(w.node.started) < 5*time.Second
	if err := w.node.stop(stopLimit); err != nil && w.fullSince.Before(w.node.started) && !(young && w.node.killedBy(syscall.SIGTERM)) {
		w.book.problem("%v\n%s", err, w.node.tail())
	}
	return w.startNode, nil
}

func (w *world) killReceiver(*rand.Rand) (func(), error) {
	w.receiver.kill()
	return func() { w.must(w.receiver.start()) }, nil
}

func (w *world) killClickHouse(*rand.Rand) (func(), error) {
	w.must(w.clickhouse.Kill())
	return func() { w.must(w.clickhouse.Restart()) }, nil
}

func (w *world) killPostgres(*rand.Rand) (func(), error) {
	w.postgres.Kill()
	return w.postgres.Restart, nil
}

// refuse has the receiver fail a part of its requests in one of its ways.
func (w *world) refuse(r *rand.Rand) (func(), error) {
	rule := receiver.Rule{Rate: 0.1 + r.Float64()/2}
	rule.Fault = []receiver.Fault{
		{Status: http.StatusServiceUnavailable}, {Status: http.StatusTooManyRequests, RetryAfter: "1"},
		{Reset: true}, {Reset: true, After: true}, {Status: http.StatusInternalServerError, After: true},
		{Delay: time.Duration(r.IntN(300)) * time.Millisecond},
	}[r.IntN(6)]
	if err := w.setFaults(rule); err != nil {
		return nil, err
	}
	return func() { _ = w.setFaults() }, nil // if it is down, it has forgotten them
}

func (w *world) setFaults(rules ...receiver.Rule) error {
	text, err := json.Marshal(append([]receiver.Rule{}, rules...))
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPut, "http://"+w.receiver.args[len(w.receiver.args)-2]+"/faults", bytes.NewReader(text))
	if err != nil {
		return err
	}
	client := http.Client{Timeout: commandLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// revokeKey gives half of the clients a new key and withdraws the old one.
func (w *world) revokeKey(*rand.Rand) (func(), error) {
	next, err := w.createKey(true)
	if err != nil {
		return nil, err
	}
	w.keyMutex.Lock()
	last := w.rotating
	w.rotating = next
	w.keyMutex.Unlock()
	err = w.withKeys(func(ctx context.Context, s *postgres.Store) error {
		_, err := s.Revoke(ctx, last.id)
		return err
	})
	if err == nil {
		w.revoked = append(w.revoked, last)
	}
	return nil, err
}

// anyCursor picks a cursor and the command's context.
func (w *world) anyCursor(r *rand.Rand, fn func(ctx context.Context, name string) error) error {
	name := []string{"clickhouse", "session"}[r.IntN(2)]
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	if err := fn(ctx, name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (w *world) pauseCursor(r *rand.Rand) (func(), error) {
	var span time.Duration // until it is resumed
	if r.IntN(3) > 0 {
		span = time.Duration(100+r.IntN(3000)) * time.Millisecond
	}
	return nil, w.anyCursor(r, func(ctx context.Context, name string) error {
		_, err := w.admin.Pause(ctx, name, admin.PauseRequest{Command: admin.Command{By: operator}, For: admin.Duration(span)})
		return err
	})
}

func (w *world) resumeCursor(r *rand.Rand) (func(), error) {
	return nil, w.anyCursor(r, func(ctx context.Context, name string) error {
		_, err := w.admin.Resume(ctx, name, admin.Command{})
		return err
	})
}

func (w *world) stepCursor(r *rand.Rand) (func(), error) {
	return nil, w.anyCursor(r, func(ctx context.Context, name string) error {
		_, err := w.admin.Step(ctx, name, admin.Command{})
		return err
	})
}

// rewindCursor goes back by some of what is kept. Where ClickHouse has tokens only the sessions are rewound: once is
// then to mean once without FINAL, and a rewind is what sends a row twice on purpose.
func (w *world) rewindCursor(r *rand.Rand) (func(), error) {
	share := r.Float64()
	return nil, w.anyCursor(r, func(ctx context.Context, name string) error {
		if name == "clickhouse" && w.tokens {
			return errors.New("not where rows are to be there once")
		}
		s, err := w.admin.Status(ctx)
		if err != nil {
			return err
		}
		kept := s.Log.DurableSeq - min(s.Log.DurableSeq, s.Log.FirstSeq)
		req := admin.RewindRequest{ToSeq: s.Log.FirstSeq + uint64(share*float64(kept)), Apply: true}
		w.rewound = w.rewound || name == "clickhouse"
		_, err = w.admin.Rewind(ctx, name, req)
		return err
	})
}

func (w *world) undoRewind(r *rand.Rand) (func(), error) {
	return nil, w.anyCursor(r, func(ctx context.Context, name string) error {
		if name == "clickhouse" && w.tokens {
			return errors.New("not where rows are to be there once")
		}
		_, err := w.admin.Undo(ctx, name, admin.UndoRequest{})
		return err
	})
}
