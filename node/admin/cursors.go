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

func (a *api) step(r *http.Request, p httprouter.Params) (any, error) {
	var req Command
	c, err := a.command(r, p, &req)
	if err != nil {
		return nil, err
	}
	return c.Step(r.Context(), req.shipper())
}

func (a *api) undo(r *http.Request, p httprouter.Params) (any, error) {
	var req Command
	c, err := a.command(r, p, &req)
	if err != nil {
		return nil, err
	}
	return c.Undo(r.Context(), req.shipper())
}

// rewind moves a cursor, or says what that would mean.
func (a *api) rewind(r *http.Request, p httprouter.Params) (any, error) {
	var req RewindRequest
	c, err := a.command(r, p, &req)
	if err != nil {
		return nil, err
	}
	to, forward, err := a.target(c, req)
	if err != nil {
		return nil, err
	}
	if at := c.Next(); !forward && to > at {
		return nil, refuse(http.StatusUnprocessableEntity, "seq %d is not behind cursor %s, which stands at %d: to go forward, skip", to, c.Name(), at)
	}
	if !req.Apply {
		preview, err := c.Preview(r.Context(), to)
		return RewindReply{Preview: preview}, err
	}
	return a.move(r, c, req, to, forward)
}

// move applies a rewind or skip and tells what it touched.
func (a *api) move(r *http.Request, c *shipper.Cursor, req RewindRequest, to uint64, forward bool) (any, error) {
	move, kept := c.Rewind, max(to, a.Log.FirstSeq())
	if forward {
		move = c.SkipTo
	}
	moved, err := move(r.Context(), req.Command.shipper(), kept)
	if err != nil {
		return nil, err
	}
	touched, err := c.Touched(r.Context(), moved)
	if err != nil { // it was moved all the same, which must not look like a failure
		a.Logger.Warn("a cursor was moved, but what that touched cannot be told", "cursor", c.Name(), "err", err)
	}
	touched.NotKept = kept - to
	return RewindReply{Preview: touched, Applied: true, Epoch: moved.Epoch}, nil
}

// target is the seq that a request names in one of its ways.
func (a *api) target(c *shipper.Cursor, req RewindRequest) (seq uint64, forward bool, err error) {
	given := 0
	take := func(named bool, find func() (uint64, error)) {
		if named {
			given++
			seq, err = find()
		}
	}
	plain := func(n uint64) func() (uint64, error) { return func() (uint64, error) { return n, nil } }
	take(req.ToSeq > 0, plain(req.ToSeq))
	take(req.SkipTo > 0, plain(req.SkipTo))
	take(req.SkipEnd, plain(a.Log.DurableSeq()+1))
	take(req.ToStart, plain(a.Log.FirstSeq()))
	take(!req.ToTime.IsZero(), func() (uint64, error) { return a.Log.SeekTime(req.ToTime) })
	take(req.Back > 0, func() (uint64, error) { return a.before(c, time.Duration(req.Back)) })
	if given != 1 {
		return 0, false, refuse(http.StatusBadRequest, "say in exactly one way where to go: to_seq, to_time, to_start, back, skip_to or skip_to_end")
	}
	return seq, req.SkipTo > 0 || req.SkipEnd, err
}

// before is the first seq received within d of the last one that c delivered.
func (a *api) before(c *shipper.Cursor, d time.Duration) (uint64, error) {
	at, err := c.DeliveredTo()
	if err != nil {
		return 0, fmt.Errorf("find when the last delivered event was received: %w", err)
	}
	return a.Log.SeekTime(at.Add(-d))
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
