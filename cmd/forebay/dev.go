package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"forebay/cmd/internal/lines"
	"forebay/node"
	"forebay/node/config"
	"forebay/router/auth"
	"forebay/router/auth/file"
	"forebay/shipper/session/receiver"
)

// devInfo is what dev.json in the folder of --dev says, for scripts.
type devInfo struct {
	Ingest  string `json:"ingest"`
	Admin   string `json:"admin"`
	Session string `json:"session"` // the built-in Session Manager
	KeyFile string `json:"key_file"`
	Archive string `json:"archive"`
}

// runDev runs a node that needs nothing, with a Session Manager beside it.
func (g *globals) runDev(cmd *cobra.Command, dir string) (err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	cfg := config.Dev(dir)
	key, err := devKey(dir, cfg.Keys.File.Path)
	if err != nil {
		return err
	}
	out := lines.New(g.out, nil)
	defer func() { _ = out.Close(lastLines) }() // who does not read is not waited for
	manager, err := startReceiver(out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, manager.stop()) }()
	cfg.Shippers.Session.URL = "http://" + manager.addr
	cfg.Ingest.Listen = usual(cfg.Ingest.Listen)
	cfg.Admin.Listen = usual(cfg.Admin.Listen)
	cfg.Log.Level = "warn"
	if cfg, err = cfg.Over(os.Environ()); err != nil {
		return err
	}
	output := newOutput(cfg.Log, g.err)
	defer func() { _ = output.Close(lastLines) }()
	logger, err := newLogger(cfg.Log, new(slog.LevelVar), output)
	if err != nil {
		return err
	}
	warnUnknownEnv(logger)
	o := nodeOptions(logger)
	o.LogOutput = fares(output)
	n, err := node.Open(cfg, o)
	if err != nil {
		return err
	}
	info := devInfo{
		Ingest: n.IngestAddr().String(), Admin: n.AdminAddr().String(), Session: manager.addr,
		KeyFile: filepath.Join(dir, "key"), Archive: cfg.Shippers.Archive.Dir,
	}
	text, err := json.MarshalIndent(info, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "dev.json"), text, 0o600)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write dev.json: %w", err), n.Close())
	}
	fmt.Fprintf(out, `events   http://%s/v1/events
console  http://%s/
try it   curl -H 'X-API-Key: %s' -H 'Content-Type: application/json' -d '{"events":[{"eventType":"click","timestamp":"%s","sessionId":"s1","route":"/","target":{"type":"page"}}]}' http://%s/v1/events
`, info.Ingest, info.Admin, key, time.Now().UTC().Format(time.RFC3339), info.Ingest)
	return n.Run(cmd.Context())
}

// usual is addr, or a free port where that one is taken.
func usual(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = l.Close() // it only asked
	return addr
}

// devKey is the key of --dev: made at the first run and kept in the folder,
// in clear, since nothing is worth protecting there.
func devKey(dir, keyFile string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "key")
	if text, err := os.ReadFile(path); err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	text, digest := auth.Generate()
	store := file.NewStore(keyFile)
	key := auth.Key{ID: digest.ID(), Digest: digest, Project: "demo"}
	if err := store.Create(context.Background(), key); err != nil {
		return "", err
	}
	return text, os.WriteFile(path, []byte(text+"\n"), 0o600)
}

// devReceiver is the built-in Session Manager.
type devReceiver struct {
	addr   string
	server *http.Server
	done   chan error
}

// startReceiver serves the reference Session Manager on a free port, and
// prints a line for each delivery.
func startReceiver(out io.Writer) (*devReceiver, error) {
	var mu sync.Mutex
	r, err := receiver.New(receiver.Options{Taken: func(d receiver.Delivery) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, "session manager: %s/%s took %d events\n", d.Project, d.Session, len(d.Events))
	}})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("session manager: %w", err)
	}
	d := &devReceiver{
		addr:   l.Addr().String(),
		server: &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)},
		done:   make(chan error, 1),
	}
	go func() { d.done <- d.server.Serve(l) }()
	return d, nil
}

func (d *devReceiver) stop() error {
	err := d.server.Close()
	if serveErr := <-d.done; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}
