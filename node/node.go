package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/state"
	"forebay/router"
	"forebay/router/auth"
	"forebay/router/dedupe"
	"forebay/router/ratelimit"
	"forebay/shipper"
	"forebay/shipper/clickhouse"
	"forebay/shipper/session"
	"forebay/wal"
)

// stopTimeout bounds each step of a stop: the front door's requests, the
// shippers' requests in flight, the admin API's.
const stopTimeout = 10 * time.Second

// ErrRunning is returned for a data directory that a running node holds.
var ErrRunning = errors.New("a running node holds it")

// Options are what a node needs besides its configuration.
type Options struct {
	Version string
	Built   time.Time    // when the program was built; a clock before it is not believed
	Logger  *slog.Logger // nil: nothing is logged

	Now         func() time.Time // the machine's clock; nil: time.Now
	ClockSettle time.Duration    // see wal.Options; 0: its default

	// Load reads the configuration anew, for Reload; nil: it has no file.
	Load func() (config.Config, error)
	// LogOutput, if set, tells how Logger's lines fare.
	LogOutput func() LogOutput
	// SetLogLevel, if set, is called when a reload changes log.level.
	SetLogLevel func(level string) error
}

// LogOutput is the state of what the node's log lines are written to.
type LogOutput struct {
	Lost    uint64    // lines dropped since the start
	Waiting int       // lines that it has not taken yet
	Since   time.Time // since when it takes nothing; zero: it takes lines
}

// Node is an assembled node. Open makes it, Run runs it and closes it.
type Node struct {
	cfg     config.Config // as of the start; see config for what has changed since
	version string
	built   time.Time
	started time.Time
	logger  *slog.Logger
	tail    *logTail

	reloading    sync.Mutex                    // one reload at a time
	reloadsEnded bool                          // no more reloads: the node stops
	current      atomic.Pointer[config.Config] // with what reloads have changed
	load         func() (config.Config, error)
	setLogLevel  func(string) error
	logOutput    func() LogOutput

	now      func() time.Time
	settle   time.Duration
	compared atomic.Bool               // the clock with that of ClickHouse, since the start
	clock    atomic.Pointer[wal.Clock] // as it was looked at last
	draining draining
	logID    atomic.Pointer[string] // once it is known
	syncs    syncTimes

	openedAt   uint64                  // the log's newest seq at the start
	newestFrom uint64                  // the dedupe window held the keys of the log from this seq on before the first request was taken
	limit      uint64                  // of file descriptors
	readOnly   bool                    // the log is only looked at, see Stopped
	reserve    atomic.Pointer[wal.Log] // for Pebble's goroutines: the log, once it is open

	dir        *dataDir
	state      *state.Store
	log        *wal.Log
	keys       *auth.Directory
	keyring    *keyring
	window     *dedupe.Window
	limiter    *ratelimit.Limiter
	router     *router.Router
	cursors    *shipper.Cursors
	replays    *shipper.Replays
	audits     *shipper.Audits
	session    *session.Sink    // nil if it is not enabled
	clickhouse *clickhouse.Sink // likewise
	gate       *gate
	disk       *diskKeeper
	ledger     *ledger
	health     *health
	token      *adminToken
	contents   fileContents // of the files that the configuration names; guarded by reloading
	history    *history
	drops      *dropMemory
	metrics    *metrics

	ingest        *router.Server
	adminServer   *http.Server
	adminListener *router.BoundedListener
	stopping      context.Context // ends when operators' streams are to end
	endStreams    func()
}

// Open takes over the data directory, recovers the log, and listens on both
// addresses; events are taken once Run is called. Whatever fails, nothing is
// left open.
func Open(cfg config.Config, o Options) (_ *Node, err error) {
	n := newNode(cfg, o)
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	if n.limit, err = raiseDescriptors(); err != nil {
		n.logger.Warn("the limit of file descriptors is as it was", "limit", n.limit, "err", err)
	}
	for _, step := range []func() error{
		n.openDir, n.openState, n.openLog, n.openKeys, n.openCursors, n.openReplays, n.openAudits, n.openDropMemory, n.openRouter, n.openAdmin,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func newNode(cfg config.Config, o Options) *Node {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Node{cfg: cfg, version: o.Version, built: o.Built, started: time.Now().UTC(), tail: newLogTail()}
	n.load, n.setLogLevel, n.logOutput = o.Load, o.SetLogLevel, o.LogOutput
	if n.logOutput == nil {
		n.logOutput = func() LogOutput { return LogOutput{} }
	}
	if n.now, n.settle = o.Now, o.ClockSettle; n.now == nil {
		n.now = time.Now
	}
	n.current.Store(&cfg)
	n.logger = n.newLogger(n.tail.beside(o.Logger.Handler()))
	n.metrics = newMetrics(n)
	n.stopping, n.endStreams = context.WithCancel(context.Background())
	return n
}

// IngestAddr is where events are taken.
func (n *Node) IngestAddr() net.Addr { return n.ingest.Addr() }

// AdminAddr is where operators are answered.
func (n *Node) AdminAddr() net.Addr { return n.adminListener.Addr() }

// Close gives up a node that was opened and will not be run.
func (n *Node) Close() error { return n.close() }

// Run takes and ships events until ctx ends or something fails that the node
// cannot go on without, and then stops in order: the front door first. When it
// returns everything is closed; the error is nil if it was asked to stop.
func (n *Node) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	var behind sync.WaitGroup
	for _, actor := range []func(context.Context){
		n.keyring.run, n.cursors.Run, n.replays.Run, n.audits.Run, n.disk.run, n.ledger.run, n.health.run, n.history.run, n.drops.run, n.rebuildWindow, n.noteDurable, n.compareClock,
	} {
		behind.Go(func() { actor(background) })
	}
	// Whoever is answered finds a node that delivers and takes commands.
	<-n.cursors.Begun()
	<-n.replays.Begun()
	var front sync.WaitGroup
	front.Go(func() {
		if err := n.adminServer.Serve(n.adminListener); !errors.Is(err, http.ErrServerClosed) {
			fail(fmt.Errorf("admin listener: %w", err))
		}
	})
	front.Go(func() {
		if err := n.ingest.Serve(); err != nil {
			fail(fmt.Errorf("ingest listener: %w", err))
		}
	})
	n.logger.Info("node runs", "ingest", n.IngestAddr().String(), "admin", n.AdminAddr().String(), "version", n.version)

	select {
	case <-ctx.Done():
	case <-n.state.Failed():
		fail(n.state.Err())
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) {
		cause = nil
	}
	n.logger.Info("node stops", "cause", cause)
	err := n.stop(stopBackground, &behind)
	front.Wait()
	return errors.Join(cause, err)
}

// stop ends everything in the order in which events flow.
func (n *Node) stop(stopBackground func(), behind *sync.WaitGroup) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	n.endReloads()
	err := n.ingest.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) { // none of them was told that its events are taken
		n.logger.Warn("requests whose body was not whole in time were cut off unanswered: their senders send them again", "waited", stopTimeout, "err", err)
		err = nil
	}
	stopBackground()
	ended := make(chan struct{})
	go func() { defer close(ended); behind.Wait() }()
	select {
	case <-ended:
	case <-time.After(stopTimeout):
		err = errors.Join(err, fmt.Errorf("a shipper did not end its requests within %s: what they carried is delivered again after the next start", stopTimeout))
	}
	err = errors.Join(err, n.ledger.save(true))
	n.drops.save()
	n.endStreams()
	adminCtx, cancelAdmin := context.WithTimeout(context.Background(), stopTimeout)
	defer cancelAdmin()
	if shutdownErr := n.adminServer.Shutdown(adminCtx); shutdownErr != nil {
		err = errors.Join(err, n.adminServer.Close()) // a stream that an operator left open
	}
	return errors.Join(err, n.close())
}

// close releases what Open opened, in the reverse order.
func (n *Node) close() error {
	n.endStreams()
	var errs []error
	if n.adminListener != nil {
		if err := n.adminListener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if n.ingest != nil {
		errs = append(errs, n.ingest.Shutdown(context.Background())) // nothing is left in flight
	}
	if n.audits != nil {
		n.audits.Close()
	}
	if n.session != nil {
		n.session.Close()
	}
	if n.log != nil {
		errs = append(errs, n.log.Close())
	}
	if n.state != nil {
		errs = append(errs, n.state.Close())
	}
	if n.dir != nil {
		errs = append(errs, n.dir.close())
	}
	return errors.Join(errs...)
}

// newestKeys is how many seqs of the log's end the dedupe window knows before
// the first request: senders whose answer was lost with the process repeat those.
// Their headers are read in some 100 ms at most.
const newestKeys = 100_000

// loadNewest fills the dedupe window from the end of the log.
func (n *Node) loadNewest() {
	n.newestFrom = n.openedAt + 1 - min(n.openedAt, newestKeys)
	err := n.log.Digests(context.Background(), n.newestFrom, func(h wal.Header, digests []uint64) error {
		n.newestFrom = min(n.newestFrom, h.FirstSeq) // a block is loaded whole, or not at all
		n.window.LoadNewest(n.windowTime(n.log.Age(h)), digests)
		return nil
	})
	if err != nil {
		n.logger.Error("the end of the log cannot be read for the dedupe window: repeats of its events are stored twice", "err", err)
	}
}

// rebuildWindow fills the dedupe window from the headers of the log before its
// end, beside everything else.
func (n *Node) rebuildWindow(ctx context.Context) {
	whole := errors.New("everything before the end is loaded")
	from, err := n.log.SeekAge(n.cfg.Dedupe.Window)
	if err == nil {
		err = n.log.Digests(ctx, from, func(h wal.Header, digests []uint64) error {
			if h.FirstSeq >= n.newestFrom {
				return whole
			}
			n.window.Load(n.windowTime(n.log.Age(h)), digests)
			return nil
		})
	}
	if err != nil && !errors.Is(err, whole) && ctx.Err() == nil {
		n.logger.Error("the dedupe window is not complete: repeats of older events are stored twice", "err", err)
	}
	n.window.Loaded()
}

// windowTime is when something of an age came, by the dedupe window's clock.
func (n *Node) windowTime(age time.Duration) time.Time { return n.window.Now().Add(-age) }

// retained tells the dedupe window for how long the log holds its oldest block, to
// the second.
func (n *Node) retained(age time.Duration) { n.window.Retain(n.windowTime(age + time.Second)) }

// noteDurable saves how far the log has come, so that a log that lost its end
// does not give out seqs twice.
func (n *Node) noteDurable(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	saved := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		seq := n.log.DurableSeq()
		if seq == saved {
			continue
		}
		if err := n.state.SetDurableSeq(seq); err != nil {
			n.logger.Warn("the log's position cannot be saved", "err", err)
			continue
		}
		saved = seq
	}
}

// handler is the admin API of this node.
func (n *Node) handler() http.Handler {
	return admin.NewHandler(admin.Options{
		Node: n, Log: n.log, LogDir: n.dir.logDir(), Cursors: n.cursors, Replays: n.replays, Audits: n.audits, Privacy: n.privacyChecker, Keys: n.keyring,
		Metrics: n.metrics.handler(), Token: n.token.current, Drops: n.router, DropMemory: n.drops.memory, Lines: n.tail, Reload: n.Reload, Nodes: func() []string { return n.config().Admin.Nodes }, Stopping: n.stopping, Logger: n.logger,
	})
}
