package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"forebay/node/config"
	"forebay/node/state"
	"forebay/router"
	"forebay/router/dedupe"
	"forebay/router/event"
	"forebay/router/privacy"
	"forebay/router/ratelimit"
	"forebay/shipper"
	"forebay/wal"
)

func (n *Node) openDir() (err error) {
	n.dir, err = openDataDir(n.cfg.Node.DataDir)
	return err
}

func (n *Node) openState() (err error) {
	n.state, err = state.Open(n.dir.stateDir(), state.Options{
		Logger:     n.logger.With("part", "state"),
		OnDiskFull: n.releaseReserve,
	})
	if err != nil {
		return err
	}
	id, err := n.state.LogID()
	if err == nil && !id.IsZero() {
		n.identify(id) // for what the log says about its recovery
	}
	return err
}

// releaseReserve gives Pebble the log's reserve when the disk is full.
func (n *Node) releaseReserve() {
	log := n.reserve.Load()
	if log == nil {
		return // the disk was full before the log was opened
	}
	if _, err := log.ReleaseReserve(); err != nil {
		n.logger.Warn("the disk is full and the reserve cannot be given up", "err", err)
	}
}

// openLog opens the log above every seq that has been used, as far as the
// state knows, and checks that the two belong together.
func (n *Node) openLog() error {
	floor, err := shipper.FloorSeq(n.state)
	if err != nil {
		return err
	}
	saved, err := n.state.DurableSeq()
	if err != nil {
		return err
	}
	options, err := n.walOptions(max(floor, saved))
	if err != nil {
		return err
	}
	if n.log, err = wal.Open(options); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	n.identify(n.log.ID())
	n.reserve.Store(n.log)
	n.openedAt = n.log.DurableSeq()
	return n.checkIdentity()
}

func (n *Node) walOptions(floor uint64) (wal.Options, error) {
	compression, err := wal.ParseCompression(n.cfg.WAL.Compression)
	if err != nil {
		return wal.Options{}, fmt.Errorf("wal.compression: %w", err)
	}
	return wal.Options{
		Dir:          n.dir.logDir(),
		SegmentBytes: int64(n.cfg.WAL.SegmentBytes),
		Compression:  compression,
		SyncInterval: n.cfg.WAL.SyncInterval(),
		Floor:        floor,
		ReadOnly:     n.readOnly,
		Logger:       n.logger.With("part", "wal"),
		OnCommit:     n.metrics.committed,
		Now:          n.now,
		Built:        n.built,
		ClockSettle:  n.settle,
	}, nil
}

// checkIdentity refuses a state folder that belongs to another log: its
// cursors would silently pass over events.
func (n *Node) checkIdentity() error {
	known, err := n.state.LogID()
	if err != nil {
		return err
	}
	id := n.log.ID()
	if known.IsZero() {
		return n.state.SetLogID(id)
	}
	if known != id {
		return fmt.Errorf("the state folder belongs to log %s, but the log here is %s: put back the folder that belongs to it; if the whole data directory was copied or restored, run: forebay wal reidentify", known, id)
	}
	return nil
}

func (n *Node) openRouter() error {
	n.window = dedupe.New(dedupe.Options{
		Window: n.cfg.Dedupe.Window, MaxKeys: n.cfg.Dedupe.MaxKeys, Rebuild: n.openedAt > 0,
	})
	n.loadNewest()
	n.gate = &gate{log: n.log}
	settings, err := routerSettings(n.cfg)
	if err != nil {
		return err
	}
	n.limiter = ratelimit.New(ratelimit.Options{RequestsPerSecond: n.cfg.Limits.RequestsPerSecond, Burst: n.cfg.Limits.Burst})
	ceiling := router.NewCeiling()
	n.router, err = router.New(router.Options{
		Log: n.gate, Keys: n.keys, Window: n.window, Hasher: dedupe.NewHasher(n.log.ID()),
		Limiter:  n.limiter,
		Settings: settings,
		Now:      n.believedNow,
		Ceiling:  ceiling,
		OnReply:  n.metrics.replied,
		OnDrop:   n.drops.note,
		Logger:   n.logger.With("part", "router"),
	})
	if err != nil {
		return err
	}
	n.ledger = &ledger{router: n.router, ceiling: ceiling, state: n.state, log: n.log, logger: n.logger}
	if err := n.ledger.restore(); err != nil {
		return err
	}
	n.disk = &diskKeeper{
		cfg: n.cfg.WAL, dir: n.dir.path, inPlace: n.dir.inPlace, log: n.log, keepFrom: n.cursors.KeepFrom, wantFrom: n.replays.KeepFrom, gate: n.gate, retained: n.retained, pressed: n.setAsideParked,
		logger: n.logger.With("part", "disk"),
	}
	n.disk.keep(time.Now())
	if n.token, err = openAdminToken(n.cfg.Admin.TokenFile, n.logger.With("part", "admin")); err != nil {
		return err
	}
	n.contents, _ = readContents(n.cfg) // what cannot be read is told by what uses it
	n.health = newHealth(n)
	n.history = &history{node: n}
	door, _ := share(n.limit, n.cfg.Shippers.Session.Lanes)
	n.ingest, err = router.Listen(router.ServerOptions{
		Addr: n.cfg.Ingest.Listen, Handler: n.router, MaxConnections: door,
		CertFile: n.cfg.Ingest.TLS.CertFile, KeyFile: n.cfg.Ingest.TLS.KeyFile,
		Logger: n.logger.With("part", "ingest"),
	})
	if err != nil {
		return fmt.Errorf("ingest.listen: %w", err)
	}
	return nil
}

// routerSettings are those that a configuration asks for.
func routerSettings(cfg config.Config) (s router.Settings, err error) {
	if s.TrustedProxies, err = prefixes(cfg.Ingest.TrustedProxies); err != nil {
		return s, err
	}
	if s.Privacy, err = newChecker(cfg.Privacy); err != nil {
		return s, err
	}
	l := cfg.Limits
	s.WireBytes = int(l.WireBytes)
	s.Limits = eventLimits(cfg)
	return s, nil
}

// eventLimits are the limits that the configuration sets for events.
func eventLimits(c config.Config) event.Limits {
	l := c.Limits
	limits := event.DefaultLimits()
	limits.BatchEvents, limits.BatchBytes, limits.EventBytes = l.BatchEvents, int(l.BatchBytes), int(l.EventBytes)
	limits.StringBytes, limits.SessionBytes, limits.Depth = int(l.StringBytes), int(l.SessionBytes), l.Depth
	limits.MaxAhead, limits.MaxAge = l.TimestampAhead, l.TimestampAge
	limits.EventTypes = c.Ingest.EventTypes
	return limits
}

func newChecker(c config.Privacy) (*privacy.Checker, error) {
	o, err := c.Options()
	if err != nil {
		return nil, err
	}
	return privacy.New(o)
}

// privacyChecker judges by the rules that hold now.
func (n *Node) privacyChecker() (*privacy.Checker, error) { return newChecker(n.config().Privacy) }

// NewInspector makes an inspector of events by the rules and limits of a
// configuration that passed Validate, and returns the checker that it stands on.
func NewInspector(c config.Config) (*router.Inspector, *privacy.Checker, error) {
	checker, err := newChecker(c.Privacy)
	if err != nil {
		return nil, nil, err
	}
	inspector, err := router.NewInspector(eventLimits(c), checker)
	return inspector, checker, err
}

// setAsideParked lets sessions that fail no longer hold the log back: their
// events queue in the dead letters instead.
func (n *Node) setAsideParked() {
	if n.session != nil {
		n.session.SetAsideParked()
	}
}

func prefixes(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, t := range texts {
		p, err := netip.ParsePrefix(t)
		if err != nil {
			addr, addrErr := netip.ParseAddr(t)
			if addrErr != nil {
				return nil, fmt.Errorf("ingest.trusted_proxies: %q is neither an address nor a range: %w", t, err)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		out = append(out, p)
	}
	return out, nil
}

// openAdmin listens for operators: on loopback or a Unix socket without a
// token, elsewhere only with one.
func (n *Node) openAdmin() error {
	listener, err := listenAdmin(n.cfg.Admin.Listen)
	if err != nil {
		return fmt.Errorf("admin.listen %s cannot be listened on (is another node or program using it? choose another port, or stop that one): %w", n.cfg.Admin.Listen, err)
	}
	_, operators := share(n.limit, n.cfg.Shippers.Session.Lanes)
	n.adminListener = router.NewBoundedListener(listener, operators)
	n.metrics.register()
	n.adminServer = &http.Server{
		Handler:           n.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(n.logger.With("part", "admin").Handler(), slog.LevelWarn),
	}
	return nil
}

func listenAdmin(addr string) (net.Listener, error) {
	path, ok := strings.CutPrefix(addr, "unix:")
	if !ok {
		return net.Listen("tcp", addr)
	}
	if err := removeStaleSocket(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o600)
}

// removeStaleSocket removes the socket that a killed node left behind, and
// nothing else: no other file, and no socket where somebody answers.
func removeStaleSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket", path)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		return errors.Join(fmt.Errorf("somebody answers at %s", path), conn.Close())
	}
	return os.Remove(path)
}
