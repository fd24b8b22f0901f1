package main

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
	"forebay/shipper"
)

func newDead(g *globals) *cobra.Command {
	c := &cobra.Command{Use: "dead", Short: "Look at, requeue, discard, export and import dead letters"}
	c.AddCommand(newDeadList(g), newDeadShow(g), newDeadChange(g, "requeue"), newDeadChange(g, "discard"), newDeadExport(g), newDeadImport(g))
	return c
}

// deadFlags select dead letters.
type deadFlags struct {
	shipper.DeadFilter
	since, until string
	seqs         []string
}

func (f *deadFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Project, "project", "", "only of this project")
	flags.StringVar(&f.Session, "session", "", "only of this session")
	flags.StringVar(&f.Reason, "reason", "", "only with exactly this reason")
	flags.StringVar(&f.since, "since", "", "only buried then or later")
	flags.StringVar(&f.until, "until", "", "only buried before")
	flags.StringSliceVar(&f.seqs, "seq", nil, "only these seqs")
	flags.IntVar(&f.Limit, "limit", 0, "at most so many, the oldest first")
}

func (f *deadFlags) filter() (shipper.DeadFilter, error) {
	for _, v := range []struct {
		text string
		into *time.Time
	}{{f.since, &f.Since}, {f.until, &f.Until}} {
		if v.text == "" {
			continue
		}
		t, err := parseTime(v.text)
		if err != nil {
			return f.DeadFilter, usageError{err}
		}
		*v.into = t
	}
	for _, text := range f.seqs {
		seq, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return f.DeadFilter, usageError{fmt.Errorf("--seq %q is not a number", text)}
		}
		f.Seqs = append(f.Seqs, seq)
	}
	return f.DeadFilter, nil
}

// query is the filter as the API takes it.
func query(f shipper.DeadFilter) url.Values {
	q := url.Values{"project": {f.Project}, "session": {f.Session}, "reason": {f.Reason}}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.Format(time.RFC3339))
	}
	if !f.Until.IsZero() {
		q.Set("until", f.Until.Format(time.RFC3339))
	}
	for _, seq := range f.Seqs {
		q.Add("seq", strconv.FormatUint(seq, 10))
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

func newDeadList(g *globals) *cobra.Command {
	var flags deadFlags
	cmd := &cobra.Command{
		Use: "list CURSOR", Short: "List dead letters, oldest first", Args: exactArgs("CURSOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := flags.filter()
			if err != nil {
				return err
			}
			return g.withNode(func(c *admin.Client) error {
				rows := [][]string{{"SEQ", "PROJECT", "SESSION", "BURIED", "ATTEMPTS", "REQUEUED", "REASON"}}
				err := c.Dead(cmd.Context(), args[0], query(f), func(d shipper.DeadLetter) error {
					if g.json {
						return g.printLine(d)
					}
					rows = append(rows, []string{
						fmt.Sprint(d.Seq), d.Project, d.Session, d.BuriedAt.Format(time.RFC3339),
						fmt.Sprint(d.Attempts), fmt.Sprint(d.Requeued), d.Reason,
					})
					return nil
				})
				if err != nil || g.json {
					return err
				}
				return g.table(rows...)
			})
		},
	}
	flags.register(cmd)
	return cmd
}

func newDeadShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "show CURSOR SEQ", Short: "Show one dead letter with its event", Args: exactArgs("CURSOR", "SEQ"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withNode(func(c *admin.Client) error {
				found := false
				err := c.Dead(cmd.Context(), args[0], url.Values{"seq": {args[1]}}, func(d shipper.DeadLetter) error {
					found = true
					if g.json {
						return g.printJSON(d)
					}
					_, err := fmt.Fprintf(g.out, "seq %d of project %s, session %s\nreceived %s, buried %s after %d attempts\nreason: %s\n%s\n",
						d.Seq, d.Project, d.Session, d.ReceivedAt.Format(time.RFC3339Nano), d.BuriedAt.Format(time.RFC3339), d.Attempts, d.Reason, d.Raw)
					return err
				})
				if err == nil && !found {
					return fmt.Errorf("cursor %s has no dead letter %s", args[0], args[1])
				}
				return err
			})
		},
	}
}

// newDeadChange is requeue or discard.
func newDeadChange(g *globals, verb string) *cobra.Command {
	var flags deadFlags
	var why string
	var all, yes bool
	short := map[string]string{
		"requeue": "Deliver dead letters once more, in ascending order",
		"discard": "Remove dead letters for ever",
	}[verb]
	cmd := &cobra.Command{
		Use: verb + " CURSOR", Short: short, Args: exactArgs("CURSOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := flags.filter()
			if err != nil {
				return err
			}
			if f.Project+f.Session+f.Reason+flags.since+flags.until == "" && len(f.Seqs) == 0 && !all {
				return usageError{fmt.Errorf("say which dead letters (--seq, --project, --session, --reason, --since, --until), or --all")}
			}
			if verb == "discard" && !yes {
				return usageError{fmt.Errorf("discarded letters are gone for ever: export them first, then add --yes")}
			}
			return g.withNode(func(c *admin.Client) error {
				change := c.Requeue
				if verb == "discard" {
					change = c.Discard
				}
				r, err := change(cmd.Context(), args[0], admin.DeadRequest{Command: command(why), Filter: f})
				return g.showLetters(verb, r, err)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	cmd.Flags().BoolVar(&all, "all", false, "all of the cursor's dead letters")
	if verb == "discard" {
		cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	}
	return cmd
}

func (g *globals) showLetters(verb string, r admin.DeadReply, err error) error {
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(r)
	}
	_, err = fmt.Fprintf(g.out, "%s: %d dead letters\n", verb, r.Letters)
	return err
}

func newDeadExport(g *globals) *cobra.Command {
	var flags deadFlags
	cmd := &cobra.Command{
		Use: "export CURSOR", Short: "Print dead letters as JSON lines, whole, for import", Args: exactArgs("CURSOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := flags.filter()
			if err != nil {
				return err
			}
			return g.withNode(func(c *admin.Client) error {
				return c.Dead(cmd.Context(), args[0], query(f), func(d shipper.DeadLetter) error { return g.printLine(d) })
			})
		},
	}
	flags.register(cmd)
	return cmd
}

func newDeadImport(g *globals) *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: "import CURSOR FILE|-", Short: "Add dead letters that were exported; those that are there stay", Args: exactArgs("CURSOR", "FILE|-"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := cmd.InOrStdin()
			if args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			return g.withNode(func(c *admin.Client) error {
				r, err := c.Import(cmd.Context(), args[0], command(why), in)
				return g.showLetters("import", r, err)
			})
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	return cmd
}
