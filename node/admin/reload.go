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
	return ReloadReply{append([]config.Change{}, reply.Applied...), append([]config.Change{}, reply.Refused...)}, nil
}
