package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/julienschmidt/httprouter"

	"forebay/router/auth"
	"forebay/router/dedupe"
	"forebay/router/event"
	"forebay/wal"
)

// Log takes accepted events; *wal.Log is one.
type Log interface {
	// Append returns once the entry is durable, with the seq of its first
	// event. It copies the entry's data before it waits.
	Append(ctx context.Context, e wal.Entry) (first uint64, err error)
}

// Keys knows the API keys; *auth.Directory is one.
type Keys interface {
	Lookup(auth.Digest) (key auth.Key, known bool)
}

// Limiter bounds how many requests a sender makes; *ratelimit.Limiter is one.
type Limiter interface {
	Allow(key auth.Key) (ok bool, retryAfter time.Duration)
	AllowAddr(addr netip.Addr) (ok bool, retryAfter time.Duration)
}

// Window remembers idempotency keys; *dedupe.Window is one.
type Window interface {
	Reserve(digests []uint64) *dedupe.Reservation
}

// Options set a Router up. Log, Keys, Limiter, Window and Hasher are required;
// any other zero field takes its default.
type Options struct {
	Log     Log
	Keys    Keys
	Limiter Limiter
	Window  Window
	Hasher  dedupe.Hasher // of the log's identity

	Settings // what Router.Change can change later

	// MaxRequests is how many requests are decoded or stored at a time; default
	// 4096. More are dropped as overloaded.
	MaxRequests int
	// MaxBytes bounds the bytes of bodies and records in memory; default 128
	// MiB. What does not fit is dropped as overloaded. A quarter is for
	// requests that show no key in their header or query, so that nobody
	// without a key can take the others' room.
	MaxBytes int64
	// MaxWaiting is how many requests may wait for their reply after the last
	// byte of their body, held replies included; default 8192. More are dropped
	// as overloaded and answered at once, whatever their keys.
	MaxWaiting int
	// MaxHold bounds how long the reply to a refused request is held, so that its
	// time does not tell it from a stored one; default 2 s, and at most that. Below
	// 0 nothing is held.
	MaxHold time.Duration
	// Decompressors is how many bodies are decompressed at a time, at up to 24
	// MiB each; default GOMAXPROCS. Others wait.
	Decompressors int

	// Now returns the time that timestamps are held against, or a zero time
	// while the clock is not believed: then they are not. Default time.Now.
	Now func() time.Time

	// Ceiling, if set, holds replies back until it covers what they count for.
	Ceiling *Ceiling

	// OnReply, if set, is called after each POST with the time from its header
	// to its reply, for a histogram. It must not block.
	OnReply func(took time.Duration)

	// OnDrop, if set, is called with each drop. It must not block.
	OnDrop func(Drop)

	Logger *slog.Logger // default: nothing is logged
}

// Router is the front door: an http.Handler that takes events. It is safe for
// concurrent use.
type Router struct {
	log     Log
	keys    Keys
	limiter Limiter
	window  Window
	hasher  dedupe.Hasher
	logger  *slog.Logger
	now     func() time.Time
	ceiling *Ceiling
	onReply func(time.Duration)

	settings    atomic.Pointer[settings]
	maxRequests int64
	maxWaiting  int64

	routes        *httprouter.Router
	headers       fixedHeaders
	replyOK       []byte
	buffers       buffers // for requests with a key in the header or query
	beacons       buffers // for the others
	decompressors *decompressors
	passages      sync.Pool // of *passage
	inFlight      atomic.Int64
	waiting       atomic.Int64
	holding       *holding
	tally         *tally
	tap           *tap
	senders       atomic.Pointer[senders] // nil: they are not watched
	findings      findings
}

// New makes a router. The error names the option that is missing or out of
// range.
func New(opts Options) (*Router, error) {
	if opts.Log == nil || opts.Keys == nil || opts.Limiter == nil || opts.Window == nil || opts.Hasher == (dedupe.Hasher{}) {
		return nil, errors.New("router: Log, Keys, Limiter, Window and Hasher are required")
	}
	opts.setDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	r := &Router{
		log: opts.Log, keys: opts.Keys, limiter: opts.Limiter, window: opts.Window, hasher: opts.Hasher,
		logger: opts.Logger, now: opts.Now, ceiling: opts.Ceiling, onReply: opts.OnReply,
		maxRequests: int64(opts.MaxRequests), maxWaiting: int64(opts.MaxWaiting), holding: newHolding(opts.MaxHold),
		headers: newFixedHeaders(), replyOK: []byte(replyOK),
		decompressors: newDecompressors(opts.Decompressors),
		tally:         newTally(), tap: newTap(opts.OnDrop),
	}
	if err := r.Change(opts.Settings); err != nil {
		return nil, err
	}
	r.beacons.limit = opts.MaxBytes / 4
	r.buffers.limit = opts.MaxBytes - r.beacons.limit
	r.passages.New = func() any { return new(passage) }
	r.routes = r.newRoutes()
	return r, nil
}

// Defaults and bounds of options.
const (
	defaultWireBytes   = 2 << 20
	defaultMaxRequests = 4096
	defaultMaxBytes    = 128 << 20
	defaultMaxWaiting  = 8192
	maxWireBytes       = 64 << 20
)

func (o *Options) setDefaults() {
	if o.MaxRequests == 0 {
		o.MaxRequests = defaultMaxRequests
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = defaultMaxWaiting
	}
	if o.MaxHold == 0 {
		o.MaxHold = defaultMaxHold
	}
	if o.Decompressors == 0 {
		o.Decompressors = runtime.GOMAXPROCS(0)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

func (o *Options) validate() error {
	if o.MaxRequests < 1 || o.MaxWaiting < 1 || o.MaxBytes < 4*smallestBuffer || o.Decompressors < 1 {
		return fmt.Errorf("router: max requests is %d, max waiting %d, max bytes %d and decompressors %d; want at least 1, 1, %d and 1",
			o.MaxRequests, o.MaxWaiting, o.MaxBytes, o.Decompressors, 4*smallestBuffer)
	}
	if o.MaxHold > defaultMaxHold {
		return fmt.Errorf("router: max hold is %s, want at most %s", o.MaxHold, defaultMaxHold)
	}
	return nil
}

// newRoutes names the paths. Anything else is 404, or 405 with another method.
func (r *Router) newRoutes() *httprouter.Router {
	routes := httprouter.New()
	routes.RedirectTrailingSlash = false
	routes.RedirectFixedPath = false
	routes.NotFound = http.HandlerFunc(r.notFound)
	for path, format := range map[string]event.Format{
		"/v1/events": event.Envelope,
		"/v1/batch":  event.Envelope,
		"/v1/event":  event.Single,
	} {
		routes.POST(path, func(w http.ResponseWriter, req *http.Request, _ httprouter.Params) { r.post(w, req, format) })
		routes.OPTIONS(path, func(w http.ResponseWriter, req *http.Request, _ httprouter.Params) { r.preflight(w, req) })
	}
	return routes
}

// ServeHTTP answers one request.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.routes.ServeHTTP(w, req) }

// post takes the events of one request and answers it.
func (r *Router) post(w http.ResponseWriter, req *http.Request, format event.Format) {
	start := time.Now()
	if s := r.senders.Load(); s != nil {
		s.note(req)
	}
	p := r.passages.Get().(*passage)
	p.req, p.format, p.now, p.span.read, p.settings = req, format, r.now(), start, r.settings.Load()
	r.contained(p)
	r.tally.left(p.stage, p.key.Project, p.events)
	r.ceiling.await(p.number, p.lastEvent)
	if p.waits {
		defer r.waiting.Add(-1)
	}
	switch {
	case p.verdict.accepted > 0:
		r.holding.stored(p.span)
		r.reply(w, req, &p.verdict)
		r.putPassage(p)
	case p.holds():
		s := p.span
		r.putPassage(p) // a reply that tells nothing needs nothing of it
		r.holding.refused(departure(req), s)
		r.reply(w, req, new(verdict))
	default:
		r.reply(w, req, &p.verdict)
		r.putPassage(p)
	}
	if r.onReply != nil {
		r.onReply(time.Since(start))
	}
}

// holds reports whether the reply must be delayed until the reply to a stored
// batch would go out. That is so if nothing was stored, unless the key is strict,
// the body did not end (refused whoever sends), or there is no room to wait.
func (p *passage) holds() bool {
	v := &p.verdict
	return v.accepted == 0 && !v.strict && !v.closes && !p.atOnce
}

// departure ends when the sender cannot see a reply any more. Over HTTP/1 that
// is not known: the end of what it sends may be no more than that, and a reply
// that came at once then would be told from one that waits for the disk.
func departure(req *http.Request) context.Context {
	if req.ProtoMajor < 2 {
		return context.WithoutCancel(req.Context())
	}
	return req.Context()
}

func (r *Router) putPassage(p *passage) {
	p.reset()
	r.passages.Put(p)
}

// contained runs the pipeline. Should a bug make it panic, the request is
// counted as dropped, the sender is told nothing, and the operator all.
func (r *Router) contained(p *passage) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		text := "the cause may hold data of the request"
		if fault, ok := cause.(runtime.Error); ok {
			text = fault.Error()
		}
		r.logger.Error("BUG: a request made the pipeline panic; it was dropped", "panic", text, "stack", string(debug.Stack()))
		r.abandon(p)
	}()
	r.ingest(p)
}

// Tally returns what became of all requests and events, as one moment.
func (r *Router) Tally() Tally { return r.tally.snapshot() }

// Restore adds the figures that an earlier process saved, so that they go on
// from there. Call it before the first request.
func (r *Router) Restore(saved Tally) { r.tally.restore(saved) }

// Stats is what the router holds at a moment.
type Stats struct {
	Requests int64 // requests that are decoded or stored; at most Options.MaxRequests
	Bytes    int64 // bytes of bodies and records in memory; at most Options.MaxBytes
	Waiting  int64 // requests that wait for their reply; at most Options.MaxWaiting
}

// Stats reads what the router holds.
func (r *Router) Stats() Stats {
	return Stats{Requests: r.inFlight.Load(), Bytes: r.buffers.out.Load() + r.beacons.out.Load(), Waiting: r.waiting.Load()}
}

// Findings returns how many events each privacy detector has found something
// in: those that it dropped, and those that it only reported. An event can
// count for several detectors.
func (r *Router) Findings() []Finding { return r.findings.list() }

// Drops returns up to n of the last drops, the oldest first; at most 1,000 are
// kept, of which each project has a share.
func (r *Router) Drops(n int) []Drop { return r.tap.recent(n) }

// WatchDrops returns a channel of the drops from now on, until stop is called;
// the channel is not closed. A watcher that falls more than 256 drops behind
// misses some, which a gap in their numbers tells. ok is false if 32 are watching already.
func (r *Router) WatchDrops() (drops <-chan Drop, stop func(), ok bool) { return r.tap.watch() }
