package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/node/state"
	"forebay/router/auth"
	"forebay/router/auth/file"
	"forebay/router/auth/postgres"
	"forebay/shipper"
)

// maxDenials bounds what operators deny on one node; the source is for more.
const maxDenials = 10_000

// keyring is what the node does about keys, beside looking them up: it follows
// their source, carries them over a restart, denies them on an operator's word, and
// has the audit trail know what changes.
type keyring struct {
	dir     *auth.Directory
	keeper  *auth.Keeper
	source  auth.Source // nil: the node is stopped
	name    string      // of the source, as the configuration calls it
	state   *state.Store
	note    func(cmd shipper.Command, verb string, before, after any, with ...shipper.Write) error
	logger  *slog.Logger
	started time.Time

	denying    sync.Mutex // one change of the denials at a time
	unreadable error      // a denial that was found damaged at the start
}

// openKeyring takes the keys from the cache, and the denials.
func (n *Node) openKeyring() error {
	c := n.cfg.Keys
	n.keys = auth.NewDirectory(maxStale(c))
	n.keys.SetDoubtFor(c.DoubtFor)
	r := &keyring{dir: n.keys, name: c.Source, state: n.state, logger: n.logger.With("part", "keys"), started: time.Now()}
	r.note = func(cmd shipper.Command, verb string, before, after any, with ...shipper.Write) error {
		return n.cursors.Note(cmd, verb, before, after, with...)
	}
	source := c.Source
	if source == config.KeysFile {
		source = file.SourceName(c.File.Path)
	}
	r.keeper = auth.NewKeeper(auth.KeeperOptions{Directory: n.keys, Cache: n.state, Source: source, OnChange: r.changed, Logger: r.logger})
	r.keeper.Load()
	denials, unreadable, err := n.state.LoadDenials()
	if err != nil {
		return fmt.Errorf("read the denied keys: %w", err)
	}
	if r.unreadable = unreadable; unreadable != nil {
		r.logger.Error("a denied key", "err", unreadable)
	}
	r.dir.SetDenied(denials)
	n.keyring = r
	return nil
}

// openKeys makes the directory and its source. A key file must be readable now, or
// the cache have its keys; PostgreSQL may be away.
func (n *Node) openKeys() error {
	if err := n.openKeyring(); err != nil {
		return err
	}
	c, r := n.cfg.Keys, n.keyring
	if c.Source == config.KeysFile {
		source := file.NewSource(c.File.Path, r.logger)
		r.source = source
		return source.Load(n.keys)
	}
	source, err := postgres.NewSource(postgres.Options{DSN: c.Postgres.ReadDSN, Logger: r.logger})
	r.source = source
	return err
}

// maxStale is how old keys may be. Whoever can change a key file is on this
// machine: there is nobody to lose touch with.
func maxStale(c config.Keys) time.Duration {
	if c.Source == config.KeysFile {
		return 0
	}
	return c.MaxStale
}

// run follows the source and its denials until ctx ends.
func (r *keyring) run(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() { _ = r.source.Run(ctx, r.dir) }) // returns nil, at the end of ctx
	parts.Go(func() { r.keeper.Run(ctx) })
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			r.endDenials()
		}
	}
	parts.Wait()
}

// changed has the audit trail know of another set of keys. Whoever changed it did
// so at the source, which does not say who.
func (r *keyring) changed(c auth.Change) error {
	return r.note(shipper.Command{By: "key source (" + r.name + ")"}, "keys", nil, c)
}

// Deny implements admin.Keys: the key may not send from now on, whatever its source
// says. It is durable when it returns, with its entry in the audit trail.
func (r *keyring) Deny(cmd admin.Command, reference string) (auth.Denial, error) {
	r.denying.Lock()
	defer r.denying.Unlock()
	d := auth.Denial{At: time.Now().UTC(), By: cmd.By, Why: cmd.Why}
	switch key, err := r.dir.Find(reference); {
	case err == nil:
		d.Digest, d.ID, d.Project = key.Digest, key.ID, key.Project
	case errors.Is(err, auth.ErrKeyNotFound):
		digest, digestErr := auth.ParseDigest(strings.ToLower(reference))
		if digestErr != nil {
			return d, fmt.Errorf("%w: %w among the %d keys that this node knows; one that it does not know is denied by all 64 digits of its SHA-256", shipper.ErrRefused, err, r.dir.Len())
		}
		d.Digest, d.ID = digest, digest.ID()
	default:
		return d, fmt.Errorf("%w: %w", shipper.ErrRefused, err)
	}
	denied := r.dir.Denied()
	for _, known := range denied {
		if known.Digest == d.Digest {
			return known, nil
		}
	}
	if len(denied) >= maxDenials {
		return d, fmt.Errorf("%w: %d keys are denied, which is the most: revoke them at their source", shipper.ErrRefused, maxDenials)
	}
	write, err := state.WriteDenial(d)
	if err != nil {
		return d, err
	}
	if err := r.note(shipper.Command{By: cmd.By, Why: cmd.Why}, "deny key", nil, denialNote(d), write); err != nil {
		return d, fmt.Errorf("deny key: %w", err)
	}
	r.dir.SetDenied(append(denied, d))
	r.logger.Warn("key denied on this node", "key", d.ID, "project", d.Project, "by", d.By, "why", d.Why)
	return d, nil
}

// Allow implements admin.Keys: it lifts a denial.
func (r *keyring) Allow(cmd admin.Command, reference string) (auth.Denial, error) {
	ref, err := auth.ParseReference(reference)
	if err != nil {
		return auth.Denial{}, fmt.Errorf("%w: %w", shipper.ErrRefused, err)
	}
	r.denying.Lock()
	defer r.denying.Unlock()
	var found []auth.Denial
	for _, d := range r.dir.Denied() {
		if strings.HasPrefix(d.Digest.String(), ref) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return auth.Denial{}, fmt.Errorf("%w: no key %s is denied on this node (see forebay keys denied)", shipper.ErrRefused, ref)
	case 1:
		return found[0], r.lift(shipper.Command{By: cmd.By, Why: cmd.Why}, found[0])
	}
	return auth.Denial{}, fmt.Errorf("%w: %w", shipper.ErrRefused, auth.ErrKeyAmbiguous)
}

// lift is called with r.denying held.
func (r *keyring) lift(cmd shipper.Command, d auth.Denial) error {
	if err := r.note(cmd, "allow key", denialNote(d), nil, state.WriteNoDenial(d.Digest)); err != nil {
		return fmt.Errorf("allow key: %w", err)
	}
	var left []auth.Denial
	for _, other := range r.dir.Denied() {
		if other.Digest != d.Digest {
			left = append(left, other)
		}
	}
	r.dir.SetDenied(left)
	return nil
}

// endDenials lifts those that the source itself has made needless: it says that the
// key is revoked. That it lists the key as valid, or no longer at all, ends none: a
// key can come back with a backup.
func (r *keyring) endDenials() {
	r.denying.Lock()
	defer r.denying.Unlock()
	for _, d := range r.dir.Denied() {
		if !r.dir.Revoked(d.Digest) {
			continue
		}
		cmd := shipper.Command{By: "forebay", Why: "the key source (" + r.name + ") says that the key is revoked"}
		if err := r.lift(cmd, d); err != nil {
			r.logger.Error("a denial that is no longer needed stays", "key", d.ID, "err", err)
		}
	}
}

// denialNote is how the audit trail shows a denial.
func denialNote(d auth.Denial) map[string]any {
	return map[string]any{"key": d.ID, "project": d.Project, "denied_at": d.At}
}

// AcceptLoss implements admin.Keys: an operator's word that keys are gone by intent.
func (r *keyring) AcceptLoss(cmd admin.Command) (auth.Doubt, error) {
	doubt := r.dir.Doubt()
	if doubt == nil {
		return auth.Doubt{}, fmt.Errorf("%w: %w", shipper.ErrRefused, auth.ErrNoDoubt)
	}
	if !r.dir.Answered() {
		return auth.Doubt{}, fmt.Errorf("%w: the key source (%s) has not answered since the start, so what it has is not known", shipper.ErrRefused, r.name)
	}
	if err := r.note(shipper.Command{By: cmd.By, Why: cmd.Why}, "accept loss of keys", doubt, nil); err != nil {
		return auth.Doubt{}, fmt.Errorf("accept the loss: %w", err)
	}
	accepted, err := r.dir.Accept()
	if err != nil {
		return accepted, fmt.Errorf("%w: %w", shipper.ErrRefused, err)
	}
	r.logger.Warn("loss of keys accepted", "lost", accepted.Lost, "of", accepted.Had, "by", cmd.By, "why", cmd.Why)
	return accepted, nil
}

// List implements admin.Keys.
func (r *keyring) List() ([]auth.Key, []auth.Denial) {
	keys, _ := r.dir.Keys()
	return keys, r.dir.Denied()
}

// stats is the condition of the source, and of what is kept of it.
func (r *keyring) stats() auth.SourceStats {
	s := auth.SourceStats{Source: r.name}
	if r.source != nil {
		s = r.source.Stats()
	}
	if err := errors.Join(r.keeper.Err(), r.unreadable); err != nil {
		s.LastError = strings.TrimPrefix(s.LastError+"; "+strings.ReplaceAll(err.Error(), "\n", "; "), "; ")
	}
	return s
}

// status is the keys' part of the node's.
func (r *keyring) status() admin.KeyStatus {
	s := r.stats()
	return admin.KeyStatus{
		Source: r.name, Count: r.dir.Len(), AgeSeconds: r.dir.Age().Seconds(), LastError: s.LastError,
		Known: r.dir.Filled(), Answered: r.dir.Answered(), Doubt: r.dir.Doubt(), Denied: len(r.dir.Denied()),
	}
}
