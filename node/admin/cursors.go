package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"

	"forebay/shipper"
)

func (a *api) cursors(*http.Request, httprouter.Params) (any, error) {
	all := []shipper.Status{}
	for _, c := range a.Cursors.All() {
		all = append(all, c.Status())
	}
	return all, nil
}

// named finds the cursor that the path names.
func (a *api) named(p httprouter.Params) (*shipper.Cursor, error) {
	name := p.ByName("name")
	if c := a.Cursors.Get(name); c != nil {
		return c, nil
	}
	names := []string{}
	for _, c := range a.Cursors.All() {
		names = append(names, c.Name())
	}
	return nil, refuse(http.StatusNotFound, "no cursor is named %q; this node has %v", name, names)
}

func (a *api) cursor(_ *http.Request, p httprouter.Params) (any, error) {
	c, err := a.named(p)
	if err != nil {
		return nil, err
	}
	return c.Status(), nil
}

func (a *api) pause(r *http.Request, p httprouter.Params) (any, error) {
	var req PauseRequest
	c, err := a.command(r, p, &req)
	if err != nil {
		return nil, err
	}
	if err := c.Pause(r.Context(), req.Command.shipper(), time.Duration(req.For)); err != nil {
		return nil, err
	}
	return c.Status(), nil
}

func (a *api) resume(r *http.Request, p httprouter.Params) (any, error) {
	var req Command
	c, err := a.command(r, p, &req)
	if err != nil {
		return nil, err
	}
	if err := c.Resume(r.Context(), req.shipper()); err != nil {
		return nil, err
	}
	return c.Status(), nil
}

func (a *api) retry(r *http.Request, p httprouter.Params) (any, error) {
	var req Command
	c, err := a.command(r, p, &req)
	if err != nil {
		return nil, err
	}
	if err := c.Retry(r.Context(), req.shipper()); err != nil {
		return nil, err
	}
	return c.Status(), nil
}

func (a *api) step(r *http.Request, p httprouter.Params) (any, error) {
	var req Command
	c, err := a.command(r, p, &req)
	if err != nil {
		return nil, err
	}
	return c.Step(r.Context(), req.shipper())
}

func (a *api) undo(r *http.Request, p httprouter.Params) (any, error) {
	var req UndoRequest
	c, err := a.command(r, p, &req)
	if err != nil {
		return nil, err
	}
	if req.Preview {
		return c.Undoing()
	}
	return c.Undo(r.Context(), req.Command.shipper())
}

// rewind moves a cursor, or says what that would mean.
func (a *api) rewind(r *http.Request, p httprouter.Params) (any, error) {
	var req RewindRequest
	c, err := a.command(r, p, &req)
	if err != nil {
		return nil, err
	}
	to, err := a.target(c, req)
	if err != nil {
		return nil, err
	}
	if at := c.Next(); !to.forward && to.seq > at {
		return nil, refuse(http.StatusUnprocessableEntity, "seq %d is not behind cursor %s, which stands at %d: to go forward, skip", to.seq, c.Name(), at)
	}
	if !req.Apply {
		preview, err := c.Preview(r.Context(), to.seq)
		if preview.NotKept == 0 {
			preview.Removed = to.removed
		}
		return RewindReply{Preview: preview}, err
	}
	return a.move(r, c, req, to)
}

// move applies a rewind or skip and tells what it touched.
func (a *api) move(r *http.Request, c *shipper.Cursor, req RewindRequest, to target) (any, error) {
	move := c.Rewind
	if to.forward {
		move = c.SkipTo
	}
	moved, err := move(r.Context(), req.Command.shipper(), max(to.seq, a.Log.FirstSeq()))
	if err != nil {
		return nil, err
	}
	touched, err := c.Touched(r.Context(), moved)
	if err != nil { // it was moved all the same, which must not look like a failure
		a.Logger.Warn("a cursor was moved, but what that touched cannot be told", "cursor", c.Name(), "err", err)
	}
	touched.Removed = to.removed
	return RewindReply{Preview: touched, Applied: true, Epoch: moved.Epoch}, nil
}

// target is where a request wants a cursor to go.
type target struct {
	seq     uint64
	forward bool
	removed shipper.Removed // what lies from there on and is no longer kept
}

// target finds what a request names in one of its ways.
func (a *api) target(c *shipper.Cursor, req RewindRequest) (to target, err error) {
	given := 0
	take := func(named bool, find func() (target, error)) {
		if named {
			given++
			to, err = find()
		}
	}
	plain := func(to target) func() (target, error) { return func() (target, error) { return to, nil } }
	take(req.ToSeq > 0, plain(target{seq: req.ToSeq, removed: a.removedBefore(req.ToSeq)}))
	take(req.ToStart, plain(target{seq: a.Log.FirstSeq(), removed: a.removedBefore(1)}))
	take(!req.ToTime.IsZero(), func() (target, error) { return a.since(req.ToTime) })
	take(req.Back > 0, func() (target, error) { return a.before(c, time.Duration(req.Back)) })
	take(req.SkipTo > 0, plain(target{seq: req.SkipTo, forward: true}))
	take(req.SkipEnd, plain(target{seq: a.Log.DurableSeq() + 1, forward: true}))
	if given != 1 {
		return to, refuse(http.StatusBadRequest, "say in exactly one way where to go: to_seq, to_time, to_start, back, skip_to or skip_to_end")
	}
	return to, err
}

// since is where what was received at a time or later begins.
func (a *api) since(at time.Time) (to target, err error) {
	to.removed = a.removedSince(at) // before the seq is looked for: retention may run in between
	to.seq, err = a.Log.SeekTime(at)
	return to, err
}

// before is where what was received within d of the last event that c delivered
// begins. If that one is not kept, nor is anything before it.
func (a *api) before(c *shipper.Cursor, d time.Duration) (target, error) {
	at, err := c.DeliveredTo()
	if err != nil {
		return target{}, fmt.Errorf("find when the last delivered event was received: %w", err)
	}
	if at.IsZero() {
		first := a.Log.FirstSeq()
		return target{seq: first, removed: shipper.Removed{NotKept: first - 1, AtMost: true}}, nil
	}
	return a.since(at.Add(-d))
}

// command finds the cursor that the path names and reads the body.
func (a *api) command(r *http.Request, p httprouter.Params, into any) (*shipper.Cursor, error) {
	c, err := a.named(p)
	if err != nil {
		return nil, err
	}
	return c, decode(r, into)
}

// decode reads a JSON body; a field that the API does not know is an error,
// since an operator who misspells one must not be taken to have meant its
// default.
func decode(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return refuse(http.StatusBadRequest, "the request's body cannot be read: %w", err)
	}
	return nil
}
