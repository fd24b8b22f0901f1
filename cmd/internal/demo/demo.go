package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"forebay/node/admin"
	"forebay/shipper/session/receiver"
)

// What the demo sends, and how long it waits for things to happen.
const (
	sampleEvents   = 1000
	sampleSessions = 40
	startLimit     = 60 * time.Second
	deliverLimit   = 60 * time.Second
	stopLimit      = 20 * time.Second
)

type demo struct {
	dir, bin string
	stay     bool
	out      io.Writer
	stops    []func() error // run in reverse
}

// place is where a running node and what belongs to it are found.
type place struct {
	ingest, admin, session string
	keyFile                string
	archive                string                 // "" without
	count                  func() (uint64, error) // rows in ClickHouse, nil without
}

// show runs a node by start, sends the sample, and prints where it went.
func (d *demo) show(ctx context.Context, start func(context.Context) (place, error)) (err error) {
	defer func() {
		for i := len(d.stops) - 1; i >= 0; i-- {
			err = errors.Join(err, d.stops[i]())
		}
	}()
	if err := os.RemoveAll(d.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	at, err := start(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\n== posting %d events of %d sessions to http://%s\n", sampleEvents, sampleSessions, at.ingest)
	send := exec.CommandContext(ctx, filepath.Join(d.bin, "forebay-load"), "send", "--url", "http://"+at.ingest,
		"--key-file", at.keyFile, "--events", fmt.Sprint(sampleEvents), "--sessions", fmt.Sprint(sampleSessions))
	send.Stdout, send.Stderr = d.out, os.Stderr
	if err := send.Run(); err != nil {
		return fmt.Errorf("post the sample: %w", err)
	}
	if err := d.report(ctx, at); err != nil {
		return err
	}
	if !d.stay {
		return nil
	}
	fmt.Fprintln(d.out, "\nThe node stays up: try the commands above. Ctrl-C ends it.")
	<-ctx.Done()
	return nil
}

// report waits until everything is delivered and says where it went; an event
// that is missing is an error.
func (d *demo) report(ctx context.Context, at place) error {
	client := admin.NewClient(at.admin, "")
	status, err := delivered(ctx, client)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\n== where they went\nlog        seq %d to %d on disk in %d segment(s), %d bytes\n",
		status.Log.FirstSeq, status.Log.DurableSeq, status.Log.Segments, status.Log.Bytes)
	for _, c := range status.Cursors {
		fmt.Fprintf(d.out, "cursor     %-10s %s, next seq %d, epoch %d, %d events behind, %d dead\n", c.Name, c.State, c.NextSeq, c.Epoch, c.LagEvents, c.Dead)
		if c.Dead > 0 || len(c.Lost) > 0 {
			err = errors.Join(err, fmt.Errorf("cursor %s did not deliver everything", c.Name))
		}
	}
	if accepted := status.Ledger.Events.Accepted; accepted != sampleEvents {
		err = errors.Join(err, fmt.Errorf("%d of %d events were accepted", accepted, sampleEvents))
	}
	if at.archive != "" {
		err = errors.Join(err, d.archived(at.archive))
	}
	if at.count != nil {
		err = errors.Join(err, d.counted(at.count))
	}
	err = errors.Join(err, d.received(ctx, at.session))
	fmt.Fprintf(d.out, "\n== look for yourself\nconsole    http://%s/\n", at.admin)
	for _, verb := range []string{"status", "cursor list", "wal ls", "wal cat --limit 3", "cursor rewind session --to-seq 1"} {
		fmt.Fprintf(d.out, "           %s --admin %s %s\n", filepath.Join(d.bin, "forebay"), at.admin, verb)
	}
	fmt.Fprintf(d.out, `send       curl -H "X-API-Key: $(cat %s)" -H "Content-Type: application/json" -d '{"events":[{"eventType":"click","timestamp":"%s","sessionId":"s1","route":"/cart","target":{"type":"element","id":"buy"}}]}' http://%s/v1/events
`, at.keyFile, time.Now().UTC().Format(time.RFC3339), at.ingest)
	return err
}

// delivered polls until no cursor is behind.
func delivered(ctx context.Context, client *admin.Client) (admin.Status, error) {
	var s admin.Status
	err := poll(ctx, deliverLimit, func() (bool, error) {
		var err error
		if s, err = client.Status(ctx); err != nil {
			return false, err
		}
		for _, c := range s.Cursors {
			if c.NextSeq <= s.Log.DurableSeq {
				return false, nil
			}
		}
		return s.Log.DurableSeq >= sampleEvents, nil
	})
	if err != nil {
		return s, fmt.Errorf("not everything was delivered (%w); cursors: %s", err, text(s.Cursors))
	}
	return s, nil
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// received asks the Session Manager what reached it, and whether in order.
func (d *demo) received(ctx context.Context, addr string) error {
	var r receiver.Report
	if err := getJSON(ctx, "http://"+addr+"/report", &r); err != nil {
		return fmt.Errorf("ask the Session Manager: %w", err)
	}
	order := "each in order"
	if !r.InOrder() {
		order = "NOT IN ORDER"
	}
	fmt.Fprintf(d.out, "sessions   %d at the Session Manager, %s: %d events in %d requests, %d repeats\n", r.Sessions, order, r.Events, r.Requests, r.Repeats)
	if !r.InOrder() || r.Events != sampleEvents || r.Sessions != sampleSessions {
		return fmt.Errorf("the Session Manager has %d events of %d sessions, %s", r.Events, r.Sessions, order)
	}
	return nil
}

func (d *demo) archived(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return err
		}
		fmt.Fprintf(d.out, "archive    %s, %d bytes\n", f, info.Size())
	}
	if len(files) == 0 {
		return errors.New("the archive is empty")
	}
	return nil
}

func (d *demo) counted(count func() (uint64, error)) error {
	n, err := count()
	if err != nil {
		return fmt.Errorf("count the rows in ClickHouse: %w", err)
	}
	fmt.Fprintf(d.out, "clickhouse %d rows, counted with FINAL\n", n)
	if n != sampleEvents {
		return fmt.Errorf("ClickHouse has %d rows, want %d", n, sampleEvents)
	}
	return nil
}

// start runs one of the binaries until the demo ends. Its output goes to a
// file in the demo's folder.
func (d *demo) start(name string, args ...string) error {
	log, err := os.Create(filepath.Join(d.dir, name+".log"))
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(d.bin, name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, errors.Join(err, log.Close()))
	}
	fmt.Fprintf(d.out, "%s %s (pid %d, output in %s)\n", name, strings.Join(args, " "), cmd.Process.Pid, log.Name())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	d.stops = append(d.stops, func() error {
		defer log.Close()
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself: done tells
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("%s ended badly, see %s: %w", name, log.Name(), err)
			}
			return nil
		case <-time.After(stopLimit):
			return errors.Join(fmt.Errorf("%s did not stop in %s", name, stopLimit), cmd.Process.Kill())
		}
	})
	return nil
}

// poll asks until the answer is yes, or until the limit, and then returns the last error.
func poll(ctx context.Context, limit time.Duration, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := ask()
		if ok && err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waited up to %s: %w", limit, ctx.Err()), err)
		}
	}
}

func getJSON(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}
