package admin

import (
	"net/http"

	"github.com/julienschmidt/httprouter"

	"forebay/node/config"
)

// ReloadReply tells what a reload of the configuration did.
type ReloadReply struct {
	Applied []config.Change `json:"applied"` // in use now
	Refused []config.Change `json:"refused"` // left as they were: they want a restart
	Files   []FileChange    `json:"files"`   // that hold another content than at the start, or at the reload before
}

// FileChange is a file that the configuration names, whose content has changed.
type FileChange struct {
	Field string `json:"field"`
	Path  string `json:"path"`
	Error string `json:"error,omitempty"` // why it cannot be read; then what it held before stays in use
}

// reload has the node read its configuration anew.
func (a *api) reload(r *http.Request, _ httprouter.Params) (any, error) {
	var req Command
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	if a.Reload == nil {
		return nil, refuse(http.StatusUnprocessableEntity, "the node is stopped: it reads its configuration when it starts")
	}
	reply, err := a.Reload(req)
	if err != nil {
		return nil, err
	}
	return ReloadReply{append([]config.Change{}, reply.Applied...), append([]config.Change{}, reply.Refused...), append([]FileChange{}, reply.Files...)}, nil
}
