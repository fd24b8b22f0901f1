package torturetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/node/nodetest"
	"forebay/router/auth"
	"forebay/router/auth/postgres"
	"forebay/router/auth/postgres/postgrestest"
	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/shippertest/proxy"
)

// The links, by where they lead.
const (
	toNode       = "node"
	toClickHouse = "ClickHouse"
	toReceiver   = "receiver"
	toPostgres   = "PostgreSQL"
)

// diskBytes is the size of the disk that holds the data directory.
const diskBytes = 256 << 20

// warehouse is either form of ClickHouse.
type warehouse interface {
	Addr() string
	Kill() error
	Restart() error
	PID() int
	Query(sql string) (string, error)
}

// world is everything that runs in one round.
type world struct {
	t      testing.TB
	seed   uint64
	tokens bool // ClickHouse keeps deduplication tokens

	dir       string
	data      string // the node's data directory
	small     bool   // it lies on a small disk of its own
	config    string
	ingest    string
	adminAddr string
	admin     *admin.Client
	node      *process
	receiver  *process
	journal   string // what the receiver has taken

	clickhouse warehouse
	postgres   *postgrestest.Server
	links      map[string]*proxy.Proxy

	book    *book
	noting  sync.RWMutex  // held for reading from a request to its note in the book
	sent    chan struct{} // closed: clients begin no new batch
	abandon chan struct{} // closed: clients give up

	sendNoMore func() // closes sent
	ordinary   key    // of senders that are told nothing
	strict     key    // of half of the clients
	keyMutex   sync.Mutex
	rotating   key   // of the other half
	revoked    []key // what rotating was before

	damaged   map[string]bool // segment files
	peakMB    float64
	base      footprint // of the node at its start
	rewound   bool      // ClickHouse was sent events a second time
	fullSince time.Time // when the disk was full last
}

// newWorld starts everything but the clients.
func newWorld(t testing.TB, o Options, seed uint64, tokens bool) *world {
	t.Helper()
	w := &world{
		t: t, seed: seed, tokens: tokens, dir: t.TempDir(), ingest: nodetest.FreeAddr(t), book: newBook(), damaged: map[string]bool{},
		sent: make(chan struct{}), abandon: make(chan struct{}),
	}
	w.data = filepath.Join(w.dir, "disk", "data")
	w.sendNoMore = sync.OnceFunc(func() { close(w.sent) })
	w.small = mountSmall(t, filepath.Dir(w.data))
	w.journal = filepath.Join(w.dir, "journal")
	w.config = filepath.Join(w.dir, "forebay.yaml")

	protocol, table := "native", ", create_table: false"
	if tokens {
		w.clickhouse, protocol, table = nodetest.StartClickHouseEngine(t), "http", ""
	} else {
		server := nodetest.StartClickHouse(t)
		server.MustQuery(t, clickhousetest.PlainTable("events"))
		w.clickhouse = server
	}
	w.postgres = nodetest.StartPostgres(t)
	receiverAddr, adminAddr := nodetest.FreeAddr(t), nodetest.FreeAddr(t)
	w.admin, w.adminAddr = admin.NewClient(adminAddr, ""), adminAddr
	w.links = map[string]*proxy.Proxy{
		toNode: proxy.Start(t, w.ingest), toClickHouse: proxy.Start(t, w.clickhouse.Addr()),
		toReceiver: proxy.Start(t, receiverAddr), toPostgres: proxy.Start(t, w.postgres.Addr()),
	}
	w.createKeys()
	text := fmt.Sprintf(`node: {id: torture, data_dir: %q}
ingest: {listen: %q}
admin: {listen: %q}
keys: {source: postgres, postgres: {dsn: %q}}
wal: {segment_bytes: 64KiB}
shippers:
  clickhouse: {addrs: [%q], protocol: %s%s, dial_timeout: 2s, read_timeout: 5s, flush: {age: 100ms, rows: 2000}}
  session: {url: %q, lanes: 8}
`, w.data, w.ingest, adminAddr, w.postgres.DSNAt(w.links[toPostgres].Addr()),
		w.links[toClickHouse].Addr(), protocol, table, "http://"+w.links[toReceiver].Addr())
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.receiver = w.process("receiver", append(o.Receiver, receiverAddr, w.journal)...)
	w.node = w.process("node", append(o.Node, "run", "--config", w.config)...)
	w.must(w.receiver.start())
	w.must(w.node.start())
	w.awaitNode()
	return w
}

// process makes a process that ends with the test.
func (w *world) process(name string, args ...string) *process {
	p := &process{name: name, args: args, output: filepath.Join(w.dir, name+".log")}
	w.t.Cleanup(func() {
		p.kill()
		if w.t.Failed() {
			w.t.Logf("%s printed at the end:\n%s", name, p.tail())
		}
	})
	return p
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// mountSmall gives dir a small disk of its own, if this user may mount one.
func mountSmall(t testing.TB, dir string) bool {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("torture", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes))
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("mount a small disk: %v", err)
		}
		t.Logf("no small disk, so none is filled: %v", err)
		return false
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return true
}

// awaitNode waits until the node takes events.
func (w *world) awaitNode() {
	w.t.Helper()
	nodetest.Eventually(w.t, settleLimit, func() bool {
		if w.node.ended() {
			w.t.Fatalf("the node ended at its start: %s\n%s", w.node.command.ProcessState, w.node.tail())
		}
		s, err := w.status()
		return err == nil && s.Accepting
	}, "the node accepts")
}

// status asks the node; one that is frozen does not hold the driver up.
func (w *world) status() (admin.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	return w.admin.Status(ctx)
}

// createKeys makes the senders' keys.
func (w *world) createKeys() {
	w.t.Helper()
	var err error
	if w.ordinary, err = w.createKey(false); err == nil {
		w.strict, err = w.createKey(true)
	}
	if err == nil {
		w.rotating, err = w.createKey(true)
	}
	w.must(err)
}

// key is an API key and the name that operators have for it.
type key struct{ text, id string }

func (w *world) createKey(strict bool) (key, error) {
	text, digest := auth.Generate()
	return key{text, digest.ID()}, w.withKeys(func(ctx context.Context, s *postgres.Store) error {
		return s.Create(ctx, auth.Key{ID: digest.ID(), Digest: digest, Project: "shop", Strict: strict, RequestsPerSecond: 1e6, Burst: 1e6})
	})
}

// withKeys works on the keys as an operator beside the database would.
func (w *world) withKeys(fn func(context.Context, *postgres.Store) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	s, err := postgres.OpenStore(ctx, w.postgres.DSN())
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx, s), s.Close(ctx))
}

// keyOf is the key that a client uses now.
func (w *world) keyOf(client int) string {
	if client%2 == 0 {
		return w.strict.text
	}
	w.keyMutex.Lock()
	defer w.keyMutex.Unlock()
	return w.rotating.text
}
