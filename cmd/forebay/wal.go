package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"forebay/node"
	"forebay/node/admin"
	"forebay/wal"
)

func newWAL(g *globals) *cobra.Command {
	c := &cobra.Command{Use: "wal", Short: "Read, search, verify and repair the log"}
	c.AddCommand(newWALList(g), newWALCat(g), newWALGrep(g), newWALVerify(g), newWALRepair(g), newWALReidentify(g))
	return c
}

func newWALList(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the log's segments", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withNode(func(c *admin.Client) error {
				all, err := c.Segments(cmd.Context())
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(all)
				}
				rows := [][]string{{"FILE", "FIRST SEQ", "LAST SEQ", "FIRST TIME", "BYTES"}}
				for _, s := range all {
					rows = append(rows, []string{
						s.Name, fmt.Sprint(s.FirstSeq), fmt.Sprint(s.LastSeq),
						s.Time.UTC().Format(time.RFC3339), bytesText(s.Bytes),
					})
				}
				return g.table(rows...)
			})
		},
	}
}

func newWALCat(g *globals) *cobra.Command {
	var from, limit uint64
	cmd := &cobra.Command{
		Use: "cat", Short: "Print events of the log as JSON lines", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withNode(func(c *admin.Client) error {
				return c.Events(cmd.Context(), from, limit, func(e admin.Event) error {
					return g.printLine(e)
				})
			})
		},
	}
	cmd.Flags().Uint64Var(&from, "from", 0, "first seq; 0 is the oldest")
	cmd.Flags().Uint64Var(&limit, "limit", 100, "at most this many events (100,000 at once)")
	return cmd
}

func newWALVerify(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Read the whole log and name what is damaged; exits with 1 if anything is", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withNode(func(c *admin.Client) error {
				p := g.progress("reading the log")
				r, err := c.VerifyProgress(cmd.Context(), p.set)
				p.end()
				if err != nil {
					return err
				}
				if err := g.showReport(r); err != nil {
					return err
				}
				if !r.OK() {
					return errors.New("the log is damaged: what is named above is lost, everything else is intact and goes on being delivered")
				}
				return nil
			})
		},
	}
}

func newWALReidentify(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "reidentify",
		Short: "Give a stopped node's log a new identity, after its directory was copied or restored",
		Long: `Give a stopped node's log a new identity, after its data directory was copied or
restored from a snapshot. Two living logs with one identity would take each
other's events for repeats: rows would silently be missing in ClickHouse.`,
		Args: exactArgs(),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := g.load()
			if err != nil {
				return err
			}
			id, err := node.Reidentify(cfg)
			if err != nil {
				return err
			}
			if g.json {
				return g.printJSON(map[string]string{"log_id": id.String()})
			}
			_, err = fmt.Fprintf(g.out, "new events get log id %s; those that are there keep theirs\n", id)
			return err
		},
	}
}

func (g *globals) showReport(r wal.Report) error {
	if g.json {
		return g.printJSON(r)
	}
	fmt.Fprintf(g.out, "log %s: %s, %s, %s, seq %d to %d, %s read\n",
		r.LogID, count(r.Segments, "segment"), count(r.Blocks, "block"), count(r.Events, "event"), r.FirstSeq, r.LastSeq, bytesText(r.Bytes))
	for _, gap := range r.Gaps {
		fmt.Fprintf(g.out, "lost: seq %d to %d (%s, %s at byte %d)\n", gap.First, gap.Last, gap.Reason, gap.File, gap.Offset)
	}
	for _, d := range r.Damage {
		fmt.Fprintf(g.out, "damaged: %+v\n", d)
	}
	if r.TornTail != nil {
		fmt.Fprintf(g.out, "torn tail, never acknowledged or still being written: %+v\n", *r.TornTail)
	}
	if r.OK() {
		_, err := fmt.Fprintln(g.out, "every block is whole")
		return err
	}
	return nil
}
