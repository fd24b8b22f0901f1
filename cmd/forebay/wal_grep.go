package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"forebay/node/admin"
)

// grepPage is how many events are asked for at a time.
const grepPage = 10_000

// grepQuery says what to look for.
type grepQuery struct {
	pattern          *regexp.Regexp
	project, session string
	from, to         uint64 // seqs; 0: the oldest, the newest
	limit            uint64 // matches; 0: all
}

func newWALGrep(g *globals) *cobra.Command {
	var q grepQuery
	cmd := &cobra.Command{
		Use: "grep REGEXP", Short: "Print the log's events that match, as JSON lines; exits with 1 if none does",
		Long: `Print the events of the log that a regular expression (RE2) matches, as JSON
lines. It is matched against the event's JSON as the sender wrote it; (?i) at its
start ignores case. To follow one idempotency key use "forebay trace", which need
not read the whole log.`,
		Args: exactArgs("REGEXP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			pattern, err := regexp.Compile(args[0])
			if err != nil {
				return usageError{err}
			}
			q.pattern = pattern
			return g.withNode(func(c *admin.Client) error { return g.grep(cmd.Context(), c, q) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.project, "project", "", "only of this project")
	f.StringVar(&q.session, "session", "", "only of this session")
	f.Uint64Var(&q.from, "from", 0, "first seq; 0 is the oldest")
	f.Uint64Var(&q.to, "to", 0, "last seq; 0 is the newest")
	f.Uint64Var(&q.limit, "limit", 0, "at most this many matches; 0 is all")
	return cmd
}

var (
	errNoMatch  = errors.New("no event matches")
	errGrepDone = errors.New("enough matches")
)

// grep reads the log in pages up to what is its end now.
func (g *globals) grep(ctx context.Context, c *admin.Client, q grepQuery) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	first, last := max(q.from, s.Log.FirstSeq), s.Log.DurableSeq
	if q.to > 0 {
		last = min(last, q.to)
	}
	bar := g.progress("reading the log")
	defer bar.end()
	matches, next := uint64(0), first
	for next <= last {
		at := next
		err := c.Events(ctx, at, grepPage, func(e admin.Event) error {
			if e.Seq > last {
				return errGrepDone
			}
			next = e.Seq + 1
			bar.set(int64(e.Seq-first), int64(last-first))
			if !q.matches(e) {
				return nil
			}
			bar.end()
			matches++
			if err := g.printLine(e); err != nil {
				return err
			}
			if matches == q.limit {
				return errGrepDone
			}
			return nil
		})
		if err != nil && !errors.Is(err, errGrepDone) {
			return err
		}
		if err != nil || next == at { // nothing is left
			break
		}
	}
	bar.end()
	if matches == 0 {
		return fmt.Errorf("%w in seqs %d to %d", errNoMatch, first, last)
	}
	return nil
}

func (q grepQuery) matches(e admin.Event) bool {
	return (q.project == "" || e.Project == q.project) && (q.session == "" || e.Session == q.session) && q.pattern.Match(e.Event)
}
