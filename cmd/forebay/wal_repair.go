package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"forebay/node"
	"forebay/wal"
)

func newWALRepair(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "repair",
		Short: "Cut a stopped node's torn tail and set aside what is in its log's way",
		Long: `Do to the log of a stopped node what the node does itself when it starts: cut a
torn tail (a copy stays in the quarantine folder), remove what an interrupted
operation left behind, and restore a missing identity file from the blocks. What
was accepted and is whole is never touched; damage amid good blocks stays where it
is, is never delivered, and is named by "forebay wal verify".`,
		Args: exactArgs(),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := g.load()
			if err != nil {
				return err
			}
			r, err := node.Repair(cfg)
			if errors.Is(err, node.ErrRunning) {
				return fmt.Errorf("a node that runs has repaired its log when it started; to repair it again, stop the node: %w", err)
			}
			if err != nil {
				return err
			}
			return g.showRepair(r)
		},
	}
}

func (g *globals) showRepair(r wal.Recovery) error {
	if g.json {
		return g.printJSON(r)
	}
	for _, d := range r.Cut {
		fmt.Fprintf(g.out, "cut: a torn tail of %d bytes at byte %d of %s (%s); a copy is in the quarantine folder\n", d.Bytes, d.Offset, d.File, d.Reason)
	}
	for _, d := range r.Damage {
		fmt.Fprintf(g.out, "left: damage of %d bytes at byte %d of %s (%s)\n", d.Bytes, d.Offset, d.File, d.Reason)
	}
	if r.Lost != nil {
		fmt.Fprintf(g.out, "lost: seq %d to %d, which cursors know and the log does not have\n", r.Lost.First, r.Lost.Last)
	}
	if r.IdentityFromBlocks {
		fmt.Fprintln(g.out, "restored: the identity file, from the blocks")
	}
	for _, name := range r.Removed {
		fmt.Fprintf(g.out, "removed: %s, left behind by an interrupted operation\n", name)
	}
	for _, name := range r.Moved {
		fmt.Fprintf(g.out, "moved: %s, which was in the way, to the quarantine folder\n", name)
	}
	_, err := fmt.Fprintf(g.out, "the log is ready to be written: %s looked at\n", bytesText(r.Scanned))
	return err
}
