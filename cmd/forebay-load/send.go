package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// sendFlags are the flags of send.
type sendFlags struct {
	url      string
	key      string
	keyFile  string
	events   int
	sessions int
	clients  int
	batch    int
	rate     float64
	seed     uint64
	receipts string
	timeout  time.Duration
	patience time.Duration
	json     bool
}

func newSend(out io.Writer) *cobra.Command {
	var f sendFlags
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Post sample events to a node",
		Long: `Posts sample events to a node, each session by one client and in order.

What the network loses, a 429 or any 5xx turns away, or somebody else than a
node answers is sent again with the same idempotency keys. Each request names
its session in X-Session-Id, as a load balancer before several nodes wants it. With a strict key --receipts gets a line of
JSON for each event that the node says it accepted: {"key","session","seq"}.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), out) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "http://127.0.0.1:7070", "base URL of the node")
	flags.StringVar(&f.key, "key", "", "API key; visible to other users of this machine, see --key-file")
	flags.StringVar(&f.keyFile, "key-file", "", "file with the API key")
	flags.IntVar(&f.events, "events", 1000, "events to send in all")
	flags.IntVar(&f.sessions, "sessions", 40, "sessions to spread them over")
	flags.IntVar(&f.clients, "clients", 8, "clients that post at the same time")
	flags.IntVar(&f.batch, "batch", 10, "events in one request, all of one session")
	flags.Float64Var(&f.rate, "rate", 0, "events a second, all clients together; 0 is as fast as it goes")
	flags.Uint64Var(&f.seed, "seed", 0, "decides session identifiers and random content; 0 draws one")
	flags.StringVar(&f.receipts, "receipts", "", "file to append receipts to")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "for one request")
	flags.DurationVar(&f.patience, "patience", time.Minute, "how long one request is tried again")
	flags.BoolVar(&f.json, "json", false, "print the summary as JSON")
	return cmd
}

func (f *sendFlags) run(ctx context.Context, out io.Writer) (err error) {
	if f.events < 1 || f.sessions < 1 || f.clients < 1 || f.batch < 1 || f.rate < 0 {
		return errors.New("--events, --sessions, --clients and --batch must be at least 1, --rate not negative")
	}
	if f.seed == 0 {
		f.seed = rand.Uint64()
	}
	if f.keyFile != "" {
		text, err := os.ReadFile(f.keyFile)
		if err != nil {
			return fmt.Errorf("--key-file: %w", err)
		}
		f.key = string(bytes.TrimSpace(text))
	}
	var receipts io.Writer
	if f.receipts != "" {
		file, openErr := os.OpenFile(f.receipts, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if openErr != nil {
			return fmt.Errorf("--receipts: %w", openErr)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		receipts = file
	}
	l := newLoad(f, receipts)
	summary, err := l.run(ctx)
	if f.json {
		return errors.Join(err, printJSON(out, summary))
	}
	_, printErr := fmt.Fprint(out, summary)
	return errors.Join(err, printErr)
}
