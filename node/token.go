package node

import (
	"log/slog"
	"sync"

	"forebay/node/admin"
	"forebay/node/config"
)

// adminToken is the content of admin.token_file, which is read again with every
// look of the health checks. A file that cannot be used leaves the last good
// token in force.
type adminToken struct {
	path   string // "": there is no token
	logger *slog.Logger

	mu    sync.Mutex
	value string
	err   error // why the file cannot be used; nil: value is its content
}

// openAdminToken reads the file for the first time; without a good token there is
// none to fall back on.
func openAdminToken(path string, logger *slog.Logger) (*adminToken, error) {
	value, err := config.ReadSecret("admin.token_file", path)
	if err != nil {
		return nil, err
	}
	return &adminToken{path: path, logger: logger, value: value}, nil
}

// current is the token in force, "" if the configuration names none.
func (t *adminToken) current() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.value
}

// look reads the file again.
func (t *adminToken) look() error {
	if t.path == "" {
		return nil
	}
	value, err := config.ReadSecret("admin.token_file", t.path)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil && t.err == nil:
		t.logger.Error("the admin token cannot be read anew: the one before stays in force", "err", err)
	case err == nil && value != t.value:
		t.value = value
		t.logger.Info("the admin token has been replaced: the one before is in force no longer", "file", t.path)
	}
	t.err = err
	return err
}

// token: is the token in force what its file holds?
func (h *health) token() (c admin.Check, wanted bool) {
	const name = "token"
	t := h.node.token
	if t.path == "" {
		return c, false
	}
	if err := t.look(); err != nil {
		return bad(name, true, "put one token into the file of admin.token_file; it is taken within seconds, without a restart",
			"the token before stays in force: %v", err), true
	}
	return good(name), true
}
