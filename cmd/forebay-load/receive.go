package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"forebay/cmd/internal/lines"
	"forebay/cmd/internal/sample"
	"forebay/shipper/session/receiver"
)

// stopTimeout bounds how long requests in flight may hold up the end.
const stopTimeout = 5 * time.Second

// receiveFlags are the flags of receive.
type receiveFlags struct {
	listen     string
	state      string
	tokenFile  string
	failRate   float64
	failStatus int
	failAfter  bool
	delay      time.Duration
	print      bool
	json       bool
}

func newReceive(out, errOut io.Writer) *cobra.Command {
	var f receiveFlags
	cmd := &cobra.Command{
		Use:   "receive",
		Short: "Be a Session Manager that checks order",
		Long: `Takes what the session cursor of a node sends, until it is interrupted, and
prints a report then; GET /report gives the same at any time. It exits with
status 1 if anything came out of order.

With --state, what was taken is on disk before it is acknowledged, so that the
process may be killed at any time. PUT /faults, a JSON list of rules such as
[{"rate":0.5,"status":503,"retry_after":"2","session":""}], makes it fail.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), out, errOut) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8081", "address to listen on; port 0 takes a free one")
	flags.StringVar(&f.state, "state", "", "file to keep all that was taken in")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the bearer token that requests must have")
	flags.Float64Var(&f.failRate, "fail-rate", 0, "share of requests to fail, 0 to 1")
	flags.IntVar(&f.failStatus, "fail-status", http.StatusServiceUnavailable, "status of a failure; 0 cuts the connection")
	flags.BoolVar(&f.failAfter, "fail-after", false, "take the events of a request that fails: only its answer is lost")
	flags.DurationVar(&f.delay, "delay", 0, "wait before each answer")
	flags.BoolVar(&f.print, "print", false, "print a line for each request that took effect")
	flags.BoolVar(&f.json, "json", false, "print the report as JSON")
	return cmd
}

// receiveReport is the receiver's own report and that of the events' numbers.
type receiveReport struct {
	receiver.Report
	InOrder bool               `json:"in_order"`
	Numbers sample.CheckReport `json:"numbers"` // order as the sample events tell it
}

func (f *receiveFlags) run(ctx context.Context, out, errOut io.Writer) (err error) {
	o := receiver.Options{StateFile: f.state}
	if f.tokenFile != "" {
		token, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
		o.Token = string(bytes.TrimSpace(token))
	}
	// A reader of the output that stands still or is gone holds nothing up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	output, notes := lines.New(out, missing), lines.New(errOut, missing)
	defer func() { err = errors.Join(err, output.Close(stopTimeout)) }()
	defer func() { _ = notes.Close(stopTimeout) }() // a note that nobody reads
	check := sample.NewCheck()
	o.Taken = func(d receiver.Delivery) { f.taken(check, d, output) }
	r, err := receiver.New(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	r.SetFaults(f.rules()...)

	report := func() receiveReport {
		w := receiveReport{Report: r.Report(), Numbers: check.Report()}
		w.InOrder = w.Report.InOrder() && w.Numbers.OutOfOrder == 0
		return w
	}
	if err := f.serve(ctx, notes, r, report); err != nil {
		return err
	}
	return f.conclude(report(), output)
}

// missing is the line for lines that the output did not take.
func missing(n uint64) []byte {
	return fmt.Appendf(nil, "%d lines are missing here: the output did not take them\n", n)
}

// rules are the faults that the flags ask for.
func (f *receiveFlags) rules() []receiver.Rule {
	var rules []receiver.Rule
	if f.failRate > 0 {
		fault := receiver.Fault{Status: f.failStatus, Reset: f.failStatus == 0, After: f.failAfter, Delay: f.delay}
		rules = append(rules, receiver.Rule{Rate: f.failRate, Fault: fault})
	}
	if f.delay > 0 {
		rules = append(rules, receiver.Rule{Rate: 1, Fault: receiver.Fault{Delay: f.delay}})
	}
	return rules
}

// taken checks the order of what took effect. Replays and fills are out of
// order on purpose.
func (f *receiveFlags) taken(check *sample.Check, d receiver.Delivery, out io.Writer) {
	if len(d.Fill) == 0 {
		for _, e := range d.Events {
			check.Event(e)
		}
	}
	if f.print && len(d.Seqs) > 0 {
		fmt.Fprintf(out, "%s %s: %d events, seq %d to %d\n", d.Project, d.Session, len(d.Seqs), d.Seqs[0], d.Seqs[len(d.Seqs)-1])
	}
}

// serve answers until ctx ends.
func (f *receiveFlags) serve(ctx context.Context, errOut io.Writer, r *receiver.Receiver, report func() receiveReport) error {
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", r)
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = printJSON(w, report()) // the client is gone: nobody is left to tell
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: stopTimeout}
	fmt.Fprintf(errOut, "listening on http://%s\n", listener.Addr())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err = server.Shutdown(stop)
	<-failed // http.ErrServerClosed
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	return err
}

// conclude prints the report; anything out of order is an error.
func (f *receiveFlags) conclude(r receiveReport, out io.Writer) error {
	var err error
	if f.json {
		err = printJSON(out, r)
	} else {
		_, err = fmt.Fprintf(out, "received %d events of %d sessions in %d requests; %d repeats dropped, %d seqs announced as gaps, %d filled\n",
			r.Events, r.Sessions, r.Requests, r.Repeats, r.Gaps, r.Filled)
	}
	if err == nil && !r.InOrder {
		err = fmt.Errorf("out of order: %d late by seq, %d malformed, %d by number: %v", r.Late, r.Malformed, r.Numbers.OutOfOrder,
			append(r.Report.Violations, r.Numbers.Violations...))
	}
	return err
}
