// Package routertest runs a router over a real log for tests, sends it requests
// byte by byte, and compares what comes back.
//
//	door := routertest.Open(t, nil)
//	text := door.AddKey(auth.Key{Project: "shop"})
//	addr := door.Serve(nil)
//	exchange := routertest.Send(t, addr, request)
//	events := door.Stored()
package routertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"forebay/router"
	"forebay/router/auth"
	"forebay/router/dedupe"
	"forebay/router/ratelimit"
	"forebay/wal"
	"forebay/wal/record"
)

// Door is a router with everything that it needs.
type Door struct {
	Router    *router.Router
	Log       *wal.Log
	Directory *auth.Directory
	Window    *dedupe.Window

	t    testing.TB
	keys []auth.Key
}

// Open makes a router over a log in a temporary directory, which is closed when
// the test ends. configure, if not nil, changes the options before they are
// used.
func Open(t testing.TB, configure func(*router.Options)) *Door {
	t.Helper()
	log, err := wal.Open(wal.Options{Dir: t.TempDir(), ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("close the log: %v", err)
		}
	})
	d := &Door{Log: log, Directory: auth.NewDirectory(0), Window: dedupe.New(dedupe.Options{}), t: t}
	opts := router.Options{
		Log: log, Keys: d.Directory, Limiter: ratelimit.New(ratelimit.Options{}), Window: d.Window, Hasher: dedupe.NewHasher(log.ID()),
	}
	if configure != nil {
		configure(&opts)
	}
	if d.Router, err = router.New(opts); err != nil {
		t.Fatal(err)
	}
	return d
}

// AddKey makes a key of the given kind and returns its text. The zero kind is
// an ordinary key of the project "test".
func (d *Door) AddKey(kind auth.Key) string {
	d.t.Helper()
	text, digest := auth.Generate()
	kind.ID, kind.Digest = digest.ID(), digest
	if kind.Project == "" {
		kind.Project = "test"
	}
	d.keys = append(d.keys, kind)
	if err := d.Directory.Replace(append([]auth.Key(nil), d.keys...)); err != nil {
		d.t.Fatal(err)
	}
	return text
}

// Serve runs the router on a free port of the loopback until the test ends, and
// returns the address.
func (d *Door) Serve(configure func(*router.ServerOptions)) string {
	d.t.Helper()
	opts := router.ServerOptions{Addr: "127.0.0.1:0", Handler: d.Router}
	if configure != nil {
		configure(&opts)
	}
	server, err := router.Listen(opts)
	if err != nil {
		d.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	d.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			d.t.Errorf("shut the server down: %v", err)
		}
		if err := <-served; err != nil {
			d.t.Errorf("serve: %v", err)
		}
	})
	return server.Addr().String()
}

// Stored is one event of the log.
type Stored struct {
	Seq     uint64
	Project string
	SDK     string
	App     string
	Session string
	Raw     string
}

// Stored reads all events that are in the log.
func (d *Door) Stored() []Stored {
	d.t.Helper()
	return ReadLog(d.t, d.Log)
}

// ReadLog reads all durable events of a log.
func ReadLog(t testing.TB, log *wal.Log) []Stored {
	t.Helper()
	reader := log.NewReader(log.FirstSeq())
	defer reader.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // so that Next does not wait for more
	var all []Stored
	for {
		block, err := reader.Next(ctx)
		if errors.Is(err, context.Canceled) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		for seq, entry := range block.Entries() {
			batch, err := record.Decode(entry.Data)
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range batch.Events {
				all = append(all, Stored{
					Seq: seq + uint64(i), Project: batch.Project, SDK: batch.SDKVersion, App: batch.AppID, Session: e.Session, Raw: string(e.Raw),
				})
			}
		}
	}
}
