package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/julienschmidt/httprouter"

	"forebay/router"
	"forebay/router/privacy"
	"forebay/shipper"
	"forebay/wal"
)

// maxBody bounds what an operator's request may carry.
const maxBody = 1 << 20

// Node is what the API shows of the node as a whole.
type Node interface {
	Status() Status
	// Checks are the health checks alone, cheap enough for every second.
	Checks() []Check
	// History is what was measured over the last hour, oldest first.
	History() History
	// Trace follows one event.
	Trace(context.Context, TraceQuery) (Trace, error)
	// Drain turns readiness, and nothing else.
	Drain(DrainRequest) error
}

// Options are what the API stands on.
type Options struct {
	Node       Node
	Log        *wal.Log
	LogDir     string
	Cursors    *shipper.Cursors
	Replays    *shipper.Replays
	Audits     *shipper.Audits
	Keys       Keys
	Privacy    func() (*privacy.Checker, error)   // by the rules that hold now
	Metrics    http.Handler                       // nil: no /metrics
	Token      func() string                      // the token in force; empty, or nil: only for loopback and Unix sockets
	Drops      Drops                              // nil: the node is stopped
	DropMemory DropMemory                         // how much was dropped, by kind and time
	Lines      LogTail                            // the node's own log; nil: the node is stopped
	Reload     func(Command) (ReloadReply, error) // reads the configuration anew; nil: the node is stopped
	Nodes      func() []string                    // admin addresses of the other nodes; nil: the node is stopped
	Stopping   context.Context                    // when it ends, so do streams; nil: they do not
	Logger     *slog.Logger
}

// Drops shows what the front door drops; *router.Router does.
type Drops interface {
	Drops(n int) []router.Drop
	WatchDrops() (drops <-chan router.Drop, stop func(), ok bool)
}

// NewHandler returns the API.
func NewHandler(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	a := &api{Options: o, places: make(chan struct{}, maxStreams), inspecting: make(chan struct{}, 1), others: fleet{turn: make(chan struct{}, 1)}}
	r := httprouter.New()
	r.GET("/", a.console)
	r.GET("/console/:file", a.console)
	r.GET("/healthz", a.healthz)
	r.GET("/readyz", a.readyz)
	if o.Metrics != nil {
		r.Handler(http.MethodGet, "/metrics", o.Metrics)
	}
	r.GET("/admin/v1/status", a.guard(a.status))
	r.GET("/admin/v1/fleet", a.guard(a.fleet))
	r.GET("/admin/v1/history", a.guard(a.history))
	r.GET("/admin/v1/live", a.streams(a.live))
	r.GET("/admin/v1/log", a.logLines)
	r.GET("/admin/v1/cursors", a.guard(a.cursors))
	r.GET("/admin/v1/cursors/:name", a.guard(a.cursor))
	r.POST("/admin/v1/cursors/:name/pause", a.guard(a.pause))
	r.POST("/admin/v1/cursors/:name/resume", a.guard(a.resume))
	r.POST("/admin/v1/cursors/:name/retry", a.guard(a.retry))
	r.POST("/admin/v1/cursors/:name/step", a.guard(a.step))
	r.POST("/admin/v1/cursors/:name/rewind", a.guard(a.rewind))
	r.POST("/admin/v1/cursors/:name/undo", a.guard(a.undo))
	r.GET("/admin/v1/cursors/:name/dead", a.dead)
	r.POST("/admin/v1/cursors/:name/dead/requeue", a.guard(a.changeDead((*shipper.Cursor).Requeue)))
	r.POST("/admin/v1/cursors/:name/dead/discard", a.guard(a.changeDead((*shipper.Cursor).Discard)))
	r.POST("/admin/v1/cursors/:name/dead/import", a.importDead)
	r.GET("/admin/v1/replays", a.guard(a.replays))
	r.POST("/admin/v1/replays", a.guard(a.startReplay))
	r.GET("/admin/v1/replays/:name", a.guard(a.replay))
	r.POST("/admin/v1/replays/:name/pause", a.guard(a.pauseReplay))
	r.POST("/admin/v1/replays/:name/resume", a.guard(a.changeReplay((*shipper.Replays).Resume)))
	r.POST("/admin/v1/replays/:name/cancel", a.guard(a.changeReplay((*shipper.Replays).Cancel)))
	r.GET("/admin/v1/keys", a.keyList)
	r.POST("/admin/v1/keys/deny", a.guard(a.denyKey))
	r.POST("/admin/v1/keys/allow", a.guard(a.allowKey))
	r.POST("/admin/v1/keys/accept", a.guard(a.acceptKeys))
	r.GET("/admin/v1/audit-log", a.auditLog)
	r.GET("/admin/v1/audit", a.guard(a.audit))
	r.POST("/admin/v1/audit", a.guard(a.startAudit))
	r.POST("/admin/v1/audit/stop", a.guard(a.stopAudit))
	r.POST("/admin/v1/audit/watch", a.guard(a.watchAudit))
	r.GET("/admin/v1/wal/segments", a.guard(a.segments))
	r.GET("/admin/v1/wal/verify", a.verify)
	r.GET("/admin/v1/wal/events", a.events)
	r.GET("/admin/v1/wal/events/stream", a.streams(a.streamEvents))
	r.GET("/admin/v1/trace", a.guard(a.trace))
	r.POST("/admin/v1/config/reload", a.guard(a.reload))
	r.POST("/admin/v1/drain", a.guard(a.drain))
	r.GET("/admin/v1/privacy/report", a.guard(a.privacyReport))
	r.GET("/admin/v1/drops", a.drops)
	r.GET("/admin/v1/drops/top", a.guard(a.topDrops))
	r.GET("/admin/v1/drops/stream", a.streams(a.streamDrops))
	r.NotFound = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusNotFound, Problem{Error: "no such path: see the admin API in OPERATING.md"})
	})
	return protect(r)
}

type api struct {
	Options
	places     chan struct{} // of streams
	inspecting chan struct{} // one part of a privacy report is being made
	others     fleet
}

// handler answers one request with a value to be encoded, or an error.
type handler func(r *http.Request, p httprouter.Params) (any, error)

// failure is an error with the HTTP status that tells its kind.
type failure struct {
	status int
	err    error
}

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

func refuse(status int, format string, args ...any) error {
	return failure{status, fmt.Errorf(format, args...)}
}

// guard lets only operators through and writes what h returns.
func (a *api) guard(h handler) httprouter.Handle {
	return func(w http.ResponseWriter, r *http.Request, p httprouter.Params) {
		if err := a.admit(r); err != nil {
			a.fail(w, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		v, err := h(r, p)
		if err != nil {
			a.fail(w, err)
			return
		}
		reply(w, http.StatusOK, v)
	}
}

func (a *api) fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var f failure
	switch {
	case errors.As(err, &f):
		status = f.status
	case errors.Is(err, shipper.ErrBusy):
		status = http.StatusConflict
	case errors.Is(err, shipper.ErrNoReplay):
		status = http.StatusNotFound
	case errors.Is(err, shipper.ErrRefused):
		status = http.StatusUnprocessableEntity
	}
	reply(w, status, Problem{Error: err.Error()})
}

func reply(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer could not be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the operator went away: nobody left to tell
}

// token is the token in force, "" if none is wanted.
func (a *api) token() string {
	if a.Token == nil {
		return ""
	}
	return a.Token()
}

// admit refuses who is not an operator: without a token whoever is not local,
// with one whoever does not know it, and in both cases pages of other origins.
func (a *api) admit(r *http.Request) error {
	token := a.token()
	if token != "" {
		got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || !sameToken(got, token) {
			return refuse(http.StatusUnauthorized, "this node wants a token: set FOREBAY_ADMIN_TOKEN_FILE or --token-file")
		}
	} else if !localPeer(r.RemoteAddr) {
		return refuse(http.StatusForbidden, "without admin.token_file the admin API answers on loopback only")
	}
	if !plainHost(r.Host) && token == "" {
		return refuse(http.StatusForbidden, "the Host header %q is neither an address nor localhost", r.Host)
	}
	if fromElsewhere(r) {
		return refuse(http.StatusForbidden, "requests for pages of another origin are refused")
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host != r.Host {
			return refuse(http.StatusForbidden, "requests from another origin are refused")
		}
	}
	return nil
}

// localPeer is also true for Unix sockets and calls within the process, whose
// peers have no address.
func localPeer(remote string) bool {
	if remote == "" || remote == "@" {
		return true
	}
	ap, err := netip.ParseAddrPort(remote)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// plainHost tells a Host that no foreign name service can have pointed here.
func plainHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "localhost" || host == ""
}

type alive struct {
	Alive bool `json:"alive"`
}

type readiness struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

func (a *api) healthz(w http.ResponseWriter, _ *http.Request, _ httprouter.Params) {
	reply(w, http.StatusOK, alive{Alive: true})
}

// readyz is 200 while new events are accepted and 503, with the reasons,
// while traffic should go elsewhere.
func (a *api) readyz(w http.ResponseWriter, _ *http.Request, _ httprouter.Params) {
	checks := a.Node.Checks()
	for _, c := range checks {
		if !c.Ready {
			reply(w, http.StatusServiceUnavailable, readiness{Checks: checks})
			return
		}
	}
	reply(w, http.StatusOK, readiness{Ready: true, Checks: checks})
}

func (a *api) status(*http.Request, httprouter.Params) (any, error) { return a.Node.Status(), nil }
