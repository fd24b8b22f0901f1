package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"

	"forebay/router/auth"
)

// Keys are the keys that the node believes in, and what operators say of them here.
type Keys interface {
	// Deny keeps a key from sending on this node, whatever its source says.
	Deny(Command, string) (auth.Denial, error)
	// Allow lifts a denial.
	Allow(Command, string) (auth.Denial, error)
	// AcceptLoss believes a source that has lost most of its keys at once.
	AcceptLoss(Command) (auth.Doubt, error)
	// List returns the keys that the node knows, and the denials.
	List() ([]auth.Key, []auth.Denial)
}

// KeyRequest names a key by its id or by more digits of its SHA-256.
type KeyRequest struct {
	Command
	Key string `json:"key"`
}

// KnownKey is a key as the node believes it to be, never the key itself.
type KnownKey struct {
	ID      string    `json:"id"`
	Project string    `json:"project"`
	State   string    `json:"state"` // active, revoked, expired, denied
	Denied  *DeniedBy `json:"denied,omitempty"`
}

// DeniedBy says who denied a key on this node.
type DeniedBy struct {
	At  time.Time `json:"at"`
	By  string    `json:"by"`
	Why string    `json:"why,omitempty"`
}

// KnownKeys calls fn for each key that the node knows, or only for denied ones.
func (c *Client) KnownKeys(ctx context.Context, denied bool, fn func(KnownKey) error) error {
	return eachLine(ctx, c, fmt.Sprintf("/admin/v1/keys?denied=%v", denied), fn)
}

// DenyKey denies a key on this node.
func (c *Client) DenyKey(ctx context.Context, req KeyRequest) (k KnownKey, err error) {
	return k, c.post(ctx, "/admin/v1/keys/deny", req, &k)
}

// AllowKey lifts the denial of a key.
func (c *Client) AllowKey(ctx context.Context, req KeyRequest) (k KnownKey, err error) {
	return k, c.post(ctx, "/admin/v1/keys/allow", req, &k)
}

// AcceptKeys believes a loss of keys that is in doubt, and returns it.
func (c *Client) AcceptKeys(ctx context.Context, cmd Command) (d auth.Doubt, err error) {
	return d, c.post(ctx, "/admin/v1/keys/accept", cmd, &d)
}

// keyList streams what the node knows, a key a line; ?denied=true: only denied keys.
func (a *api) keyList(w http.ResponseWriter, r *http.Request, _ httprouter.Params) {
	a.lines(w, r, func(line func(any) error) error {
		keys, denials := a.Keys.List()
		denied := make(map[auth.Digest]auth.Denial, len(denials))
		for _, d := range denials {
			denied[d.Digest] = d
		}
		only := r.URL.Query().Get("denied") == "true"
		for _, key := range keys {
			d, isDenied := denied[key.Digest]
			delete(denied, key.Digest)
			if only && !isDenied {
				continue
			}
			known := knownKey(key)
			if isDenied {
				known = deniedKey(d)
			}
			if err := line(known); err != nil {
				return err
			}
		}
		for _, d := range denials { // of keys that the node does not know
			if _, left := denied[d.Digest]; left {
				if err := line(deniedKey(d)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func knownKey(key auth.Key) KnownKey {
	origin := ""
	if len(key.Origins) > 0 {
		origin = key.Origins[0]
	}
	return KnownKey{ID: key.ID, Project: key.Project, State: key.State(time.Now(), origin).String()}
}

func deniedKey(d auth.Denial) KnownKey {
	return KnownKey{ID: d.ID, Project: d.Project, State: "denied", Denied: &DeniedBy{At: d.At, By: d.By, Why: d.Why}}
}

func (a *api) denyKey(r *http.Request, _ httprouter.Params) (any, error) {
	var req KeyRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	d, err := a.Keys.Deny(req.Command, req.Key)
	if err != nil {
		return nil, err
	}
	return deniedKey(d), nil
}

func (a *api) allowKey(r *http.Request, _ httprouter.Params) (any, error) {
	var req KeyRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	d, err := a.Keys.Allow(req.Command, req.Key)
	if err != nil {
		return nil, err
	}
	keys, _ := a.Keys.List()
	for _, key := range keys {
		if key.Digest == d.Digest {
			return knownKey(key), nil
		}
	}
	return KnownKey{ID: d.ID, Project: d.Project, State: auth.Unknown.String()}, nil
}

func (a *api) acceptKeys(r *http.Request, _ httprouter.Params) (any, error) {
	var req Command
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	return a.Keys.AcceptLoss(req)
}
