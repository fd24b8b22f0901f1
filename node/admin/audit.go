package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"

	"forebay/shipper"
)

// AuditRequest asks to compare what a cursor has delivered with what its
// destination has. Each end is a seq or a time, or open.
type AuditRequest struct {
	Command
	Cursor   string    `json:"cursor"`
	From     uint64    `json:"from,omitempty"`
	FromTime time.Time `json:"from_time,omitzero"` // the first event received then or later
	To       uint64    `json:"to,omitempty"`
	ToTime   time.Time `json:"to_time,omitzero"` // the last event received before
	Fill     bool      `json:"fill,omitempty"`
	Resume   bool      `json:"resume,omitempty"` // go on with the last one; nothing else may be given
}

// AuditState is the audit that runs, or the last one, and the watch.
type AuditState struct {
	Audit *shipper.AuditReport `json:"audit"` // null: there was none
	Watch Watch                `json:"watch"`
}

// Watch is how often the watch compares, "0s" if there is none, and how far it
// came.
type Watch struct {
	Every   Duration          `json:"every"`
	Cursors []shipper.Watched `json:"cursors"`
}

// WatchRequest has the node watch; Every 0 ends that.
type WatchRequest struct {
	Command
	Every Duration `json:"every"`
}

// Audit is the audit that runs, or the last one, and the watch.
func (c *Client) Audit(ctx context.Context) (s AuditState, err error) {
	return s, c.get(ctx, "/admin/v1/audit", &s)
}

// StartAudit begins an audit and does not wait for it.
func (c *Client) StartAudit(ctx context.Context, req AuditRequest) (r shipper.AuditReport, err error) {
	return r, c.post(ctx, "/admin/v1/audit", req, &r)
}

// StopAudit ends the audit that runs.
func (c *Client) StopAudit(ctx context.Context, cmd Command) (r shipper.AuditReport, err error) {
	return r, c.post(ctx, "/admin/v1/audit/stop", cmd, &r)
}

// SetWatch switches the watch.
func (c *Client) SetWatch(ctx context.Context, req WatchRequest) (w Watch, err error) {
	return w, c.post(ctx, "/admin/v1/audit/watch", req, &w)
}

func (a *api) audit(*http.Request, httprouter.Params) (any, error) {
	s := AuditState{Watch: a.watch()}
	if report, any := a.Audits.Report(); any {
		s.Audit = &report
	}
	return s, nil
}

func (a *api) watch() Watch {
	every, all := a.Audits.Watch()
	return Watch{Every: Duration(every), Cursors: append([]shipper.Watched{}, all...)}
}

func (a *api) startAudit(r *http.Request, _ httprouter.Params) (any, error) {
	var req AuditRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	if req.Resume {
		if req != (AuditRequest{Command: req.Command, Resume: true}) {
			return nil, refuse(http.StatusBadRequest, "resume goes on with the last audit as it was asked for: give nothing else")
		}
		return a.Audits.Resume()
	}
	ask := shipper.AuditRequest{Cursor: req.Cursor, From: req.From, To: req.To, Fill: req.Fill}
	if !req.FromTime.IsZero() {
		if req.From > 0 {
			return nil, refuse(http.StatusBadRequest, "give from or from_time, not both")
		}
		from, err := a.since(req.FromTime)
		if err != nil {
			return nil, err
		}
		ask.From, ask.Removed = from.seq, from.removed
	}
	if !req.ToTime.IsZero() {
		if req.To > 0 {
			return nil, refuse(http.StatusBadRequest, "give to or to_time, not both")
		}
		seq, err := a.Log.SeekTime(req.ToTime)
		if err != nil {
			return nil, err
		}
		if seq <= a.Log.FirstSeq() {
			return nil, refuse(http.StatusUnprocessableEntity, "the log holds nothing from before %s", req.ToTime.Format(time.RFC3339))
		}
		ask.To = seq - 1
		if c := a.Cursors.Get(req.Cursor); c != nil {
			ask.To = min(ask.To, c.Next()-1)
		}
	}
	return a.Audits.Start(req.Command.shipper(), ask)
}

func (a *api) stopAudit(r *http.Request, _ httprouter.Params) (any, error) {
	var req Command
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	return a.Audits.Stop(req.shipper())
}

func (a *api) watchAudit(r *http.Request, _ httprouter.Params) (any, error) {
	var req WatchRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	if err := a.Audits.SetWatch(req.Command.shipper(), time.Duration(req.Every)); err != nil {
		return nil, err
	}
	return a.watch(), nil
}
