package node

import (
	"errors"
	"fmt"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/shipper"
)

// config is the configuration in use: that of the start with what reloads have
// changed.
func (n *Node) config() config.Config { return *n.current.Load() }

// Reload reads the configuration anew and applies what can change while the node
// runs. A configuration that is wrong changes nothing; of a right one, what wants
// a restart is named and left as it is. The change is in the audit trail before
// it is made. The error wraps shipper.ErrRefused if the file is wrong, the node
// has none, or it stops.
func (n *Node) Reload(cmd admin.Command) (r admin.ReloadReply, err error) {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	if n.reloadsEnded {
		return r, fmt.Errorf("%w: the node stops", shipper.ErrRefused)
	}
	if n.load == nil {
		return r, fmt.Errorf("%w: this node was started without a configuration file", shipper.ErrRefused)
	}
	next, err := n.load()
	if err != nil {
		return r, fmt.Errorf("%w: nothing has changed: %w", shipper.ErrRefused, err)
	}
	now := n.config()
	r.Applied, r.Refused = now.Changes(next)
	if len(r.Applied) > 0 {
		err = n.apply(cmd, now.WithLive(next), r.Applied)
	}
	if err != nil {
		return admin.ReloadReply{}, err
	}
	_ = n.token.look() // the check tells of an error
	r.Files = n.compareFiles(n.config())
	n.logger.Info("configuration reloaded", "by", cmd.By, "why", cmd.Why, "applied", names(r.Applied), "want_restart", names(r.Refused), "files", r.Files)
	return r, nil
}

// endReloads waits for one that is under way and refuses later ones.
func (n *Node) endReloads() {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	n.reloadsEnded = true
}

// apply makes a configuration the one in use. All that can fail comes before
// the first change.
func (n *Node) apply(cmd admin.Command, next config.Config, changes []config.Change) error {
	err := next.Validate() // what changes has to go with what stays
	settings, settingsErr := routerSettings(next)
	if err = errors.Join(err, settingsErr); err == nil {
		err = settings.Check()
	}
	if err != nil {
		return fmt.Errorf("%w: nothing has changed: %w", shipper.ErrRefused, err)
	}
	from, to := map[string]string{}, map[string]string{}
	for _, c := range changes {
		from[c.Field], to[c.Field] = c.From, c.To
	}
	if err := n.cursors.Note(shipper.Command{By: cmd.By, Why: cmd.Why}, "reload", from, to); err != nil {
		return fmt.Errorf("nothing has changed: %w", err)
	}
	n.current.Store(&next)
	n.limiter.SetDefaults(next.Limits.RequestsPerSecond, next.Limits.Burst)
	n.keys.SetMaxStale(maxStale(next.Keys))
	n.keys.SetDoubtFor(next.Keys.DoubtFor)
	n.disk.configure(next.WAL)
	err = n.router.Change(settings)
	if c := n.cursors.Get(clickhouseCursor); c != nil {
		err = errors.Join(err, c.SetFlush(clickhouseFlush(next)))
	}
	if n.setLogLevel != nil {
		err = errors.Join(err, n.setLogLevel(next.Log.Level))
	}
	if err != nil {
		return fmt.Errorf("BUG: a configuration that was checked could not be applied as a whole: %w", err)
	}
	return nil
}

func names(changes []config.Change) []string {
	fields := []string{}
	for _, c := range changes {
		fields = append(fields, c.Field)
	}
	return fields
}
