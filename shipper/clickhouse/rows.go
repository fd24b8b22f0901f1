package clickhouse

import (
	"context"
	"fmt"
	"time"

	"forebay/shipper"
)

// Rows is what the table holds of one event.
type Rows struct {
	Count uint64   `json:"rows"`            // 0: the event is not there; above 1 until they merge
	Parts []string `json:"parts,omitempty"` // the data parts that hold them, at most ten
	Addr  string   `json:"addr,omitempty"`  // the server that was asked
}

// Find asks the table for the rows of one event. Received bounds the search to
// the partitions of about that time; the zero time searches all of the table.
func Find(ctx context.Context, o Options, logID string, seq uint64, received time.Time) (Rows, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Rows{}, err
	}
	srv, err := o.anyServer(ctx)
	if err != nil {
		return Rows{}, err
	}
	defer srv.close()
	r := Rows{Addr: srv.addr}
	where := " WHERE log_id = " + quoteText(logID) + " AND seq = " + number(seq)
	if !received.IsZero() {
		where = span{logID: logID, seqs: []shipper.Range{{First: seq, Last: seq}}, from: received.UnixMilli(), until: received.UnixMilli()}.where()
	}
	query := "SELECT count(), arraySlice(groupUniqArray(_part), 1, 10) FROM " + o.name() + where
	if err := srv.queryRow(ctx, query, &r.Count, &r.Parts); err != nil {
		return r, fmt.Errorf("look for seq %d in table %s: %w", seq, o.name(), err)
	}
	return r, nil
}
