package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/julienschmidt/httprouter"

	"forebay/shipper"
)

func (a *api) replays(*http.Request, httprouter.Params) (any, error) { return a.Replays.All() }

func (a *api) replay(_ *http.Request, p httprouter.Params) (any, error) {
	return a.Replays.Get(p.ByName("name"))
}

// startReplay begins a replay, or says what that would mean.
func (a *api) startReplay(r *http.Request, _ httprouter.Params) (any, error) {
	var req ReplayRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	removed, err := a.seekRange(&req)
	if err != nil {
		return nil, err
	}
	if !req.Apply {
		preview, err := a.Replays.Preview(r.Context(), req.ReplaySpec)
		if removed.NotKept > 0 {
			preview.Removed = removed
		}
		return ReplayReply{Preview: &preview}, err
	}
	begun, err := a.Replays.Start(req.Command.shipper(), req.ReplaySpec)
	return ReplayReply{Replay: &begun}, err
}

// seekRange turns times into seqs: those of the log ascend with them. It tells
// what the log no longer keeps of a time to begin at.
func (a *api) seekRange(req *ReplayRequest) (removed shipper.Removed, err error) {
	if !req.FromTime.IsZero() && req.First > 0 || !req.ToTime.IsZero() && req.Last > 0 {
		return removed, refuse(http.StatusBadRequest, "say in one way where to begin and where to end: from_seq or from_time, to_seq or to_time")
	}
	if !req.FromTime.IsZero() {
		from, err := a.since(req.FromTime)
		if err != nil {
			return removed, err
		}
		req.First, removed = from.seq, from.removed
	}
	if req.ToTime.IsZero() {
		return removed, nil
	}
	behind, err := a.Log.SeekTime(req.ToTime)
	if err != nil {
		return removed, err
	}
	if behind <= a.Log.FirstSeq() {
		return removed, refuse(http.StatusUnprocessableEntity, "the log keeps nothing received before %s", req.ToTime.UTC().Format(time.RFC3339))
	}
	req.Last = behind - 1
	return removed, nil
}

func (a *api) pauseReplay(r *http.Request, p httprouter.Params) (any, error) {
	var req PauseRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	return a.Replays.Pause(r.Context(), req.Command.shipper(), p.ByName("name"), time.Duration(req.For))
}

// changeReplay is the handler of resume and cancel.
func (a *api) changeReplay(change func(*shipper.Replays, context.Context, shipper.Command, string) (shipper.Replay, error)) handler {
	return func(r *http.Request, p httprouter.Params) (any, error) {
		var req Command
		if err := decode(r, &req); err != nil {
			return nil, err
		}
		return change(a.Replays, r.Context(), req.shipper(), p.ByName("name"))
	}
}

// Replays lists the replays that have not ended and the last that have.
func (c *Client) Replays(ctx context.Context) (all []shipper.Replay, err error) {
	return all, c.get(ctx, "/admin/v1/replays", &all)
}

// Replay is one replay.
func (c *Client) Replay(ctx context.Context, name string) (r shipper.Replay, err error) {
	return r, c.get(ctx, "/admin/v1/replays/"+url.PathEscape(name), &r)
}

// StartReplay previews or begins a replay.
func (c *Client) StartReplay(ctx context.Context, req ReplayRequest) (r ReplayReply, err error) {
	return r, c.post(ctx, "/admin/v1/replays", req, &r)
}

// PauseReplay pauses a replay.
func (c *Client) PauseReplay(ctx context.Context, name string, req PauseRequest) (r shipper.Replay, err error) {
	return r, c.post(ctx, replayPath(name, "pause"), req, &r)
}

// ResumeReplay lets a replay go on.
func (c *Client) ResumeReplay(ctx context.Context, name string, cmd Command) (r shipper.Replay, err error) {
	return r, c.post(ctx, replayPath(name, "resume"), cmd, &r)
}

// CancelReplay ends a replay for good.
func (c *Client) CancelReplay(ctx context.Context, name string, cmd Command) (r shipper.Replay, err error) {
	return r, c.post(ctx, replayPath(name, "cancel"), cmd, &r)
}

func replayPath(name, verb string) string {
	return "/admin/v1/replays/" + url.PathEscape(name) + "/" + verb
}
