package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/config"
	"forebay/router/auth"
	"forebay/router/auth/file"
	"forebay/router/auth/postgres"
)

// keyStore is where operators change keys: the file or PostgreSQL.
type keyStore interface {
	Create(context.Context, auth.Key) error
	List(context.Context) ([]auth.Key, error)
	Revoke(ctx context.Context, reference string) (auth.Key, error)
	Rotate(ctx context.Context, reference string, next auth.Digest, overlap time.Duration) (expiring, created auth.Key, err error)
	Import(context.Context, []auth.Key) (added int, err error)
	Close(context.Context) error
}

// keyPlace is where the flags say that the keys are.
type keyPlace struct{ file, dsn string }

func newKeys(g *globals) *cobra.Command {
	p := &keyPlace{}
	c := &cobra.Command{
		Use: "keys", Short: "Create, list, revoke, rotate, import and deny API keys",
		Long: `Keys live in a file (--file) or in PostgreSQL (--dsn, POSTGRES_DSN, or as
--config says). Only the SHA-256 of a key is kept, so a key is shown once, when
it is created. A running node follows changes by itself, and has them in its audit
trail. deny, allow, denied and accept are about one node, which --admin or --config
names, and not about where the keys live.`,
	}
	places := []*cobra.Command{newKeysCreate(g, p), newKeysList(g, p), newKeysRevoke(g, p), newKeysRotate(g, p), newKeysImport(g, p)}
	for _, place := range places {
		place.Flags().StringVar(&p.file, "file", "", "key file")
		place.Flags().StringVar(&p.dsn, "dsn", "", "PostgreSQL connection string (default POSTGRES_DSN)")
	}
	c.AddCommand(places...)
	c.AddCommand(newKeysDeny(g), newKeysAllow(g), newKeysDenied(g), newKeysAccept(g))
	return c
}

// with calls fn with the store that the flags name.
func (p *keyPlace) with(ctx context.Context, g *globals, fn func(keyStore) error) (err error) {
	store, err := p.open(ctx, g)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close(ctx)) }()
	return fn(store)
}

func (p *keyPlace) open(ctx context.Context, g *globals) (keyStore, error) {
	path, dsn := p.file, p.dsn
	switch {
	case path != "" && dsn != "":
		return nil, usageError{errors.New("give --file or --dsn, not both")}
	case path == "" && dsn == "" && g.config != "":
		cfg, err := g.load()
		if err != nil {
			return nil, err
		}
		if cfg.Keys.Source == config.KeysFile {
			path = cfg.Keys.File.Path
		} else if dsn, err = cfg.Keys.Postgres.ReadDSN(); err != nil {
			return nil, err
		}
	case path == "" && dsn == "":
		dsn = os.Getenv("POSTGRES_DSN")
	}
	switch {
	case path != "":
		return file.NewStore(path), nil
	case dsn != "":
		return postgres.OpenStore(ctx, dsn)
	}
	return nil, usageError{errors.New("say where the keys are: --file FILE, --dsn DSN or --config FILE")}
}

// keyText is a key as list and create show it: never the key itself.
type keyText struct {
	ID                string    `json:"id"`
	Project           string    `json:"project"`
	State             string    `json:"state"`
	KeySHA256         string    `json:"key_sha256"`
	RequestsPerSecond float64   `json:"requests_per_second"`
	Burst             int       `json:"burst"`
	Strict            bool      `json:"strict"`
	Origins           []string  `json:"origins"`
	ExpiresAt         time.Time `json:"expires_at,omitzero"`
	RevokedAt         time.Time `json:"revoked_at,omitzero"`
}

func textOf(k auth.Key) keyText {
	origin := ""
	if len(k.Origins) > 0 {
		origin = k.Origins[0]
	}
	return keyText{
		ID: k.ID, Project: k.Project, State: k.State(time.Now(), origin).String(), KeySHA256: k.Digest.String(),
		RequestsPerSecond: k.RequestsPerSecond, Burst: k.Burst, Strict: k.Strict,
		Origins: k.Origins, ExpiresAt: k.ExpiresAt, RevokedAt: k.RevokedAt,
	}
}

func newKeysCreate(g *globals, p *keyPlace) *cobra.Command {
	var k auth.Key
	var expires time.Duration
	cmd := &cobra.Command{
		Use: "create --project P", Short: "Create a key and print it, once, alone on standard output", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, digest := auth.Generate()
			k.Digest, k.ID = digest, digest.ID()
			if expires > 0 {
				k.ExpiresAt = time.Now().UTC().Add(expires).Truncate(time.Second)
			}
			project, err := auth.ParseProject(k.Project)
			if err != nil {
				return usageError{err}
			}
			k.Project, k.Origins = project, auth.ParseOrigins(k.Origins)
			if err := k.Validate(); err != nil {
				return usageError{err}
			}
			return p.with(cmd.Context(), g, func(s keyStore) error {
				if err := s.Create(cmd.Context(), k); err != nil {
					return err
				}
				fmt.Fprintf(g.err, "key %s for project %s: it is shown only now\n", k.ID, k.Project)
				g.tellNewProject(cmd.Context(), s, k)
				_, err := fmt.Fprintln(g.out, text)
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&k.Project, "project", "", "project that the key's events belong to: letters, digits and . _ - of ASCII, at most 128")
	f.Float64Var(&k.RequestsPerSecond, "rate", 0, "requests per second; 0 is the node's default")
	f.IntVar(&k.Burst, "burst", 0, "requests at once; 0 is the node's default")
	f.BoolVar(&k.Strict, "strict", false, "the sender is trusted and gets true answers")
	f.StringSliceVar(&k.Origins, "origin", nil, "browser origins that may use it; none is any")
	durationVar(f, &expires, "expires", 0, "how long it is valid; 0 is for ever")
	return cmd
}

// tellNewProject says so if the key is the first of its project: a misspelt name
// makes another project. The key is made by then, so an error of List is not one of create.
func (g *globals) tellNewProject(ctx context.Context, s keyStore, made auth.Key) {
	keys, err := s.List(ctx)
	if err != nil && !errors.Is(err, auth.ErrKeysLeftOut) {
		return
	}
	others := map[string]bool{}
	for _, k := range keys {
		if k.Project == made.Project && k.Digest != made.Digest {
			return
		}
		others[k.Project] = true
	}
	delete(others, made.Project)
	if names := slices.Sorted(maps.Keys(others)); len(names) > 0 {
		fmt.Fprintf(g.err, "it is the first key of project %s; others have %s\n", made.Project, strings.Join(names[:min(len(names), 10)], ", "))
	}
}

// keyRow is a key in the table: what it does not say for itself, the node or
// nobody does.
func keyRow(t keyText) []string {
	rate, burst, expires, origins := "default", "default", "never", "any"
	if t.RequestsPerSecond > 0 {
		rate = fmt.Sprintf("%g/s", t.RequestsPerSecond)
	}
	if t.Burst > 0 {
		burst = fmt.Sprint(t.Burst)
	}
	if !t.ExpiresAt.IsZero() {
		expires = t.ExpiresAt.UTC().Format(time.RFC3339)
	}
	if len(t.Origins) > 0 {
		origins = strings.Join(t.Origins, ", ")
	}
	return []string{t.ID, t.Project, t.State, rate, burst, fmt.Sprint(t.Strict), expires, origins}
}

func newKeysList(g *globals, p *keyPlace) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the keys, by id", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.with(cmd.Context(), g, func(s keyStore) error {
				keys, leftOut := s.List(cmd.Context())
				if leftOut != nil && !errors.Is(leftOut, auth.ErrKeysLeftOut) {
					return leftOut
				}
				texts := []keyText{}
				rows := [][]string{{"ID", "PROJECT", "STATE", "RATE", "BURST", "STRICT", "EXPIRES", "ORIGINS"}}
				for _, k := range keys {
					t := textOf(k)
					texts = append(texts, t)
					rows = append(rows, keyRow(t))
				}
				if g.json {
					return errors.Join(g.printJSON(texts), leftOut)
				}
				return errors.Join(g.table(rows...), leftOut)
			})
		},
	}
}

func newKeysRevoke(g *globals, p *keyPlace) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Revoke a key for good", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), g, func(s keyStore) error {
				k, err := s.Revoke(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return g.showKey("revoked", k)
			})
		},
	}
}

func newKeysRotate(g *globals, p *keyPlace) *cobra.Command {
	var overlap time.Duration
	cmd := &cobra.Command{
		Use: "rotate ID", Short: "Create a key like this one, which then expires; print the new one", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, digest := auth.Generate()
			return p.with(cmd.Context(), g, func(s keyStore) error {
				old, next, err := s.Rotate(cmd.Context(), args[0], digest, overlap)
				if err != nil {
					return err
				}
				fmt.Fprintf(g.err, "key %s takes the place of %s, which expires %s\n", next.ID, old.ID, old.ExpiresAt.UTC().Format(time.RFC3339))
				_, err = fmt.Fprintln(g.out, text)
				return err
			})
		},
	}
	durationVar(cmd.Flags(), &overlap, "overlap", 24*time.Hour, "how long both are valid")
	return cmd
}

func newKeysImport(g *globals, p *keyPlace) *cobra.Command {
	return &cobra.Command{
		Use: "import FILE|-", Short: "Add keys from a key file; those that are there already stay as they are", Args: exactArgs("FILE|-"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readInput(cmd, args[0])
			if err != nil {
				return err
			}
			keys, err := file.Parse(text)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return p.with(cmd.Context(), g, func(s keyStore) error {
				n, err := s.Import(cmd.Context(), keys)
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(map[string]int{"added": n, "present": len(keys) - n})
				}
				_, err = fmt.Fprintf(g.out, "%s added, %d there before\n", count(n, "key"), len(keys)-n)
				return err
			})
		},
	}
}

// readInput reads a file, or standard input for "-".
func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(name)
}

func (g *globals) showKey(what string, k auth.Key) error {
	if g.json {
		return g.printJSON(textOf(k))
	}
	_, err := fmt.Fprintf(g.out, "%s: key %s of project %s\n", what, k.ID, k.Project)
	return err
}
