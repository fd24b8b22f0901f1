package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"forebay/cmd/internal/sample"
	"forebay/node/state"
	"forebay/shipper"
	"forebay/shipper/session"
	"forebay/shipper/session/receiver"
	"forebay/wal"
	"forebay/wal/record"
	"forebay/wal/seedtest"
)

// The test binary runs as one of the processes of these tests when this
// variable names it.
const roleVariable = "FOREBAY_LOAD_TEST_ROLE"

// What the roles are: the program itself, and a log with a session cursor
// that appends events until it is told to finish.
const (
	roleProgram = "program"
	roleShipper = "shipper" // arguments: folder, URL, seed
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case roleProgram:
		main()
	case roleShipper:
		if err := shipUntilDone(os.Args[1], os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// shipUntilDone appends sample events and ships them. An interrupt ends the
// appending; once all is delivered it returns.
func shipUntilDone(dir, url, seed string) (err error) {
	done, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	store, err := state.Open(filepath.Join(dir, "state"), state.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	floor, err := shipper.FloorSeq(store)
	if err != nil {
		return err
	}
	log, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "wal"), SegmentBytes: 64 << 10, Floor: floor, ReserveBytes: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	sink, err := session.New(session.Options{URL: url, Timeout: 2 * time.Second})
	if err != nil {
		return err
	}
	cursors, err := shipper.NewCursors(shipper.Options{Log: log, State: store})
	if err != nil {
		return err
	}
	cursor, err := cursors.Add("session", sink, shipper.Flush{Rows: 4096, Bytes: 1 << 20})
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.Background())
	var shipping sync.WaitGroup
	shipping.Go(func() { cursors.Run(running) })
	defer func() { cancel(); shipping.Wait() }()

	var number uint64
	if _, err := fmt.Sscan(seed, &number); err != nil {
		return err
	}
	if err := appendUntil(done, log, sample.New(number, 25)); err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for cursor.Next() <= log.DurableSeq() {
		<-tick.C
	}
	return nil
}

// appendUntil appends events of the generator's sessions until ctx ends.
func appendUntil(ctx context.Context, log *wal.Log, events *sample.Generator) error {
	for i := 0; ctx.Err() == nil; i++ {
		var body struct{ Events []json.RawMessage }
		made := events.Batch(i%events.Sessions(), 1+i%4)
		if err := json.Unmarshal(made.Body, &body); err != nil {
			return err
		}
		b := record.Batch{Project: "shop"}
		for _, raw := range body.Events {
			b.Events = append(b.Events, record.Event{Session: made.Session, Raw: raw})
		}
		if _, err := log.Append(context.Background(), wal.Entry{Data: record.Append(nil, &b), Events: len(b.Events)}); err != nil {
			return err
		}
	}
	return nil
}

// process starts the test binary in a role.
func process(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	t.Cleanup(func() {
		if cmd.ProcessState == nil && cmd.Process != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

// kill ends a process at once and waits for it.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
}

// finish interrupts a process and waits until it has ended well.
func finish(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) })
	defer limit.Stop()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// startReceiver starts `forebay-load receive` and waits until it listens.
func startReceiver(t *testing.T, addr, file string) *exec.Cmd {
	t.Helper()
	cmd := process(t, roleProgram, "receive", "--listen", addr, "--state", file, "--fail-rate", "0.05", "--fail-after", "--fail-status", "0", "--json")
	cmd.Stderr = nil
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "listening on ") {
		t.Fatalf("it said %q, %v", line, err)
	}
	return cmd
}

// TestKills kills the shipper and the receiver at random while events flow,
// and lets some of the receiver's answers get lost. In the end the receiver
// has taken each event of the log once, in order and byte for byte.
func TestKills(t *testing.T) {
	kills := 6
	if os.Getenv("FOREBAY_TORTURE") != "" {
		kills = 50
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "received")
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := held.Addr().String()
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	startShipper := func(seed int) *exec.Cmd {
		cmd := process(t, roleShipper, dir, "http://"+addr, fmt.Sprint(seed))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	receive, ship := startReceiver(t, addr, file), startShipper(1)
	draw := seedtest.New(t)
	for i := range kills {
		// Whoever is killed, something has flowed in between.
		waitForGrowth(t, file, int64(20_000+draw.IntN(60_000)))
		if i%2 == 0 {
			kill(t, ship)
			ship = startShipper(i + 2)
		} else {
			kill(t, receive)
			receive = startReceiver(t, addr, file)
		}
	}
	waitForGrowth(t, file, 20_000)
	finish(t, ship)
	finish(t, receive)
	compare(t, filepath.Join(dir, "wal"), file)
}

// waitForGrowth polls until a file has grown by so many bytes.
func waitForGrowth(t *testing.T, path string, bytes int64) {
	t.Helper()
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	begin, end := size(), time.Now().Add(time.Minute)
	for size() < begin+bytes {
		if time.Now().After(end) {
			t.Fatalf("%s did not grow", path)
		}
		<-tick.C
	}
}

// compare holds what the receiver took against the log.
func compare(t *testing.T, dir, file string) {
	t.Helper()
	log, err := wal.Open(wal.Options{Dir: dir, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	want := map[string][]string{}
	reader := log.NewReader(1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // what is there, without waiting for more
	for {
		block, err := reader.Next(ctx)
		if err != nil {
			break
		}
		for first, entry := range block.Entries() {
			b, err := record.Decode(entry.Data)
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range b.Events {
				want[e.Session] = append(want[e.Session], fmt.Sprintf("%d %s", first+uint64(i), e.Raw))
			}
		}
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	err = receiver.ReadStateFile(file, func(d receiver.Delivery) error {
		for i, e := range d.Events {
			got[d.Session] = append(got[d.Session], fmt.Sprintf("%d %s", d.Seqs[i], e))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	for _, name := range slices.Sorted(maps.Keys(want)) {
		events += len(want[name])
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("session %s: the receiver took %d events, the log has %d, or they differ", name, len(got[name]), len(want[name]))
		}
	}
	if len(got) != len(want) || events == 0 {
		t.Errorf("%d sessions, want %d with %d events", len(got), len(want), events)
	}
	t.Logf("%d events of %d sessions", events, len(want))
}
