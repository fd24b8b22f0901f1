package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"forebay/node"
	"forebay/node/config"
	"forebay/router"
	"forebay/router/event"
	"forebay/router/privacy"
)

// maxCheckedBytes bounds the file that is checked.
const maxCheckedBytes = 64 << 20

// checkedEvents is the answer of `privacy check --json`.
type checkedEvents struct {
	Events   int             `json:"events"`
	Passed   int             `json:"passed"`
	Dropped  int             `json:"dropped"` // for personal data
	Invalid  int             `json:"invalid"` // dropped before anything looks for personal data
	Findings []checkedMember `json:"findings"`
}

// checkedMember is a member in which something was found, or that makes an event
// invalid. It holds no value.
type checkedMember struct {
	Index  int    `json:"index"`          // of the event, from 0
	Line   int    `json:"line,omitempty"` // of NDJSON, from 1
	Action string `json:"action"`         // drop, report or invalid
	Rule   string `json:"rule"`           // the detector, or the rule of validation
	Field  string `json:"field"`
}

func newPrivacyCheck(g *globals) *cobra.Command {
	var project string
	c := &cobra.Command{
		Use: "check FILE|-", Short: "Tell which privacy rule would drop the events of a file, and where",
		Long: `Tell which privacy rule would drop the events of a file (- is standard input):
one event, a batch, or an event a line, as they are sent. Values are never
shown. The rules and limits are the defaults, or with --config those of that
configuration. Timestamps are not held against the clock.

It exits with 1 if an event would be dropped.`,
		Args: exactArgs("FILE|-"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readChecked(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			cfg := config.Default()
			if g.config != "" {
				if cfg, err = g.load(); err != nil {
					return err
				}
			}
			k, err := newChecking(cfg, project)
			if err != nil {
				return err
			}
			if err := k.check(text); err != nil {
				return err
			}
			if g.json {
				err = g.printJSON(k.checkedEvents)
			} else {
				err = g.showChecked(k.checkedEvents)
			}
			if err == nil && k.Dropped+k.Invalid > 0 {
				err = fmt.Errorf("%d of %d events would be dropped", k.Dropped+k.Invalid, k.Events)
			}
			return err
		},
	}
	c.Flags().StringVar(&project, "project", "", "apply the rules of this project")
	return c
}

func readChecked(stdin io.Reader, name string) ([]byte, error) {
	in := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxCheckedBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxCheckedBytes {
		return nil, fmt.Errorf("%s is over %s: check it in parts", name, bytesText(maxCheckedBytes))
	}
	return text, nil
}

// checking is a check under way.
type checking struct {
	checkedEvents
	inspector *router.Inspector
	drops     privacy.Set
}

func newChecking(cfg config.Config, project string) (*checking, error) {
	inspector, checker, err := node.NewInspector(cfg)
	if err != nil {
		return nil, err
	}
	return &checking{checkedEvents: checkedEvents{Findings: []checkedMember{}}, inspector: inspector, drops: checker.Drops(project)}, nil
}

// check looks at a text in the form that it has.
func (k *checking) check(text []byte) error {
	format := formatOf(text)
	if format == event.Lines {
		for n, line := range bytes.Split(text, []byte("\n")) {
			if len(bytes.TrimSpace(line)) > 0 {
				k.line(n+1, line)
			}
		}
		return nil
	}
	all, refusal := k.inspector.Inspect(text, format)
	if refusal.Refused() {
		return refused(refusal)
	}
	for _, e := range all {
		k.take(0, e)
	}
	return nil
}

// formatOf tells a batch from one event and from lines: a batch is the one value
// that has events, and several values are lines.
func formatOf(text []byte) event.Format {
	d := json.NewDecoder(bytes.NewReader(text))
	var first json.RawMessage
	if err := d.Decode(&first); err != nil {
		return event.Lines // of which some are no JSON, or all
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return event.Lines
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(first, &members); err == nil && members["events"] != nil && members["eventType"] == nil {
		return event.Envelope
	}
	return event.Single
}

// refused is the error for a body that the node would drop whole.
func refused(r event.Refusal) error {
	text := "it would be dropped whole as " + r.Reason.String()
	for _, part := range []string{string(r.Rule), r.Field} {
		if part != "" {
			text += ", " + part
		}
	}
	return errors.New(text + " (WIRE.md explains the rules)")
}

// line looks at one line of NDJSON.
func (k *checking) line(number int, line []byte) {
	all, refusal := k.inspector.Inspect(line, event.Single)
	if refusal.Refused() {
		refusal.Reason = event.Invalid // as a line it drops only itself
		all = []router.Inspected{{Refusal: refusal}}
	}
	k.take(number, all[0])
}

// take adds what was found in the next event.
func (k *checking) take(line int, e router.Inspected) {
	index := k.Events
	k.Events++
	add := func(action, rule, field string) {
		k.Findings = append(k.Findings, checkedMember{Index: index, Line: line, Action: action, Rule: rule, Field: field})
	}
	if e.Refusal.Refused() {
		k.Invalid++
		add("invalid", string(e.Refusal.Rule), e.Refusal.Field)
		return
	}
	for _, p := range e.Places {
		action := config.PrivacyReport
		if k.drops.Has(p.Detector) {
			action = config.PrivacyDrop
		}
		add(action, p.Detector.String(), p.Field)
	}
	if e.Found()&k.drops != 0 {
		k.Dropped++
	} else {
		k.Passed++
	}
}

func (g *globals) showChecked(c checkedEvents) error {
	if len(c.Findings) > 0 {
		rows := [][]string{{"EVENT", "LINE", "ACTION", "RULE", "FIELD", "FOUND"}}
		for _, f := range c.Findings {
			line, subject := "-", "the event is invalid: it is not looked at further"
			if f.Line > 0 {
				line = fmt.Sprint(f.Line)
			}
			if d, err := privacy.ParseDetector(f.Rule); err == nil {
				subject = d.Subject()
			}
			rows = append(rows, []string{fmt.Sprint(f.Index), line, f.Action, f.Rule, f.Field, subject})
		}
		if err := g.table(rows...); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(g.out, "%s: %d pass, %d would be dropped for personal data, %d invalid\n", count(c.Events, "event"), c.Passed, c.Dropped, c.Invalid)
	return err
}
