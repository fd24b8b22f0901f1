package admin

import (
	"context"
	"net/http"

	"github.com/julienschmidt/httprouter"
)

// DrainRequest asks the node to send traffic elsewhere, or no longer to.
type DrainRequest struct {
	Command
	Undo bool `json:"undo,omitempty"`
}

// Drain turns the node's readiness; the answer is its status.
func (c *Client) Drain(ctx context.Context, r DrainRequest) (s Status, err error) {
	return s, c.post(ctx, "/admin/v1/drain", r, &s)
}

func (a *api) drain(r *http.Request, _ httprouter.Params) (any, error) {
	var req DrainRequest
	if err := decode(r, &req); err != nil {
		return nil, err
	}
	if err := a.Node.Drain(req); err != nil {
		return nil, err
	}
	return a.Node.Status(), nil
}
