package main

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
	"forebay/shipper"
)

// completionLimit bounds how long a shell waits for names.
const completionLimit = 2 * time.Second

// names finds what an argument or flag may be. It knows the arguments before.
type names func(ctx context.Context, c *admin.Client, args []string) []string

// complete has the shell offer what a running node has: cursors, replays, keys,
// projects and reasons. What an argument stands for is told by its name in the
// command's usage. Whatever goes wrong, nothing is offered, and nothing said.
func (g *globals) complete(c *cobra.Command) {
	for _, below := range c.Commands() {
		g.complete(below)
	}
	if c.HasSubCommands() && c.HasParent() || strings.Contains(c.CommandPath(), " completion") {
		return
	}
	usage := strings.Fields(c.Use)
	argument := ""
	if len(usage) > 1 {
		argument = usage[1]
	}
	switch parent := c.Parent(); {
	case strings.HasPrefix(argument, "FILE"):
	case c.Name() == "audit":
		c.ValidArgs = []string{"clickhouse", "session"}
	case parent != nil && parent.Name() == "keys" && argument == "ID":
		c.ValidArgsFunction = g.keyIDs
	case parent != nil && parent.Name() == "replay" && argument == "NAME":
		c.ValidArgsFunction = g.offer(1, replayNames)
	case argument == "NAME" || argument == "CURSOR":
		c.ValidArgsFunction = g.offer(1, cursorNames)
	case !c.HasSubCommands():
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	for flag, find := range map[string]names{"project": projectNames, "reason": reasonsFor(c)} {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, g.offer(0, find)) // fails only where there is one already
		}
	}
}

// offer is what find finds at the node that the flags name, for arguments of
// which there are fewer than most, 0 for a flag.
func (g *globals) offer(most int, find names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(contextOf(cmd), completionLimit)
		defer cancel()
		c, err := g.running()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return beginning(find(ctx, c, args), begun), cobra.ShellCompDirectiveNoFileComp
	}
}

func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

func beginning(all []string, with string) []string {
	all = slices.DeleteFunc(all, func(name string) bool { return !strings.HasPrefix(name, with) || plain(name) != name })
	slices.Sort(all)
	return slices.Compact(all)
}

func cursorNames(ctx context.Context, c *admin.Client, _ []string) (all []string) {
	cursors, _ := c.Cursors(ctx) // none if that fails
	for _, s := range cursors {
		all = append(all, s.Name)
	}
	return all
}

func replayNames(ctx context.Context, c *admin.Client, _ []string) (all []string) {
	replays, _ := c.Replays(ctx) // none if that fails
	for _, r := range replays {
		all = append(all, r.Name)
	}
	return all
}

func projectNames(ctx context.Context, c *admin.Client, _ []string) []string {
	s, _ := c.Status(ctx) // empty if that fails
	return slices.Collect(maps.Keys(s.Ledger.Projects))
}

// reasonsFor are the reasons of a cursor's dead letters, or of drops.
func reasonsFor(c *cobra.Command) names {
	if c.HasParent() && c.Parent().Name() == "dead" {
		return func(ctx context.Context, c *admin.Client, args []string) (all []string) {
			if len(args) == 0 {
				return nil
			}
			_ = c.Dead(ctx, args[0], url.Values{"limit": {"1000"}}, func(d shipper.DeadLetter) error {
				all = append(all, d.Reason)
				return nil
			}) // as far as it came
			return all
		}
	}
	return func(ctx context.Context, c *admin.Client, _ []string) []string {
		s, _ := c.Status(ctx) // empty if that fails
		return append(slices.Collect(maps.Keys(s.Ledger.Requests.Dropped)), slices.Collect(maps.Keys(s.Ledger.Events.Dropped))...)
	}
}

// keyIDs are those of the keys where the flags of the command say that keys are.
func (g *globals) keyIDs(cmd *cobra.Command, args []string, begun string) (all []string, _ cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(contextOf(cmd), completionLimit)
	defer cancel()
	p := &keyPlace{}
	for flag, into := range map[string]*string{"file": &p.file, "dsn": &p.dsn} {
		if f := cmd.Flag(flag); f != nil {
			*into = f.Value.String()
		}
	}
	if len(args) == 0 {
		_ = p.with(ctx, g, func(s keyStore) error { // none if that fails
			keys, err := s.List(ctx)
			for _, k := range keys {
				all = append(all, k.ID)
			}
			return err
		})
	}
	return beginning(all, begun), cobra.ShellCompDirectiveNoFileComp
}
