package shipper

import (
	"encoding/json"
	"fmt"
	"time"
)

// Plan is one delivery written down before it is tried, so that after a crash
// it is known exactly what may have arrived. A cursor has at most one.
type Plan struct {
	First    uint64    `json:"first"`
	Last     uint64    `json:"last"`
	Epoch    uint64    `json:"epoch"`
	Rows     int       `json:"rows"`
	Token    string    `json:"token,omitempty"` // the destination's own mark against repeats
	Addr     string    `json:"addr,omitempty"`  // where it went, if there are several places
	Stage    string    `json:"stage,omitempty"` // the sink's own progress within the plan
	Piece    int       `json:"piece,omitempty"` // rows of one request of this stage; 0: all that it has
	Attempts int       `json:"attempts,omitempty"`
	At       time.Time `json:"at"`
}

func planKey(cursor string) string { return "plan/" + cursor }

func decodePlan(data []byte) (*Plan, error) {
	if data == nil {
		return nil, nil
	}
	p := new(Plan)
	if err := json.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("decode saved plan: %w", err)
	}
	return p, nil
}

func (p Plan) write(cursor string) (Write, error) {
	v, err := json.Marshal(p)
	if err != nil {
		return Write{}, fmt.Errorf("encode plan of cursor %s: %w", cursor, err)
	}
	return Write{Key: planKey(cursor), Value: v}, nil
}
