package clickhouse

import (
	"context"
	"fmt"
)

// Count is how many events of one log the table holds, each counted once
// however often it was inserted.
func Count(ctx context.Context, o Options, logID string) (uint64, error) {
	o, err := o.withDefaults()
	if err != nil {
		return 0, err
	}
	srv, err := o.anyServer(ctx)
	if err != nil {
		return 0, err
	}
	defer srv.close()
	var n uint64
	query := "SELECT count() FROM " + o.name() + " FINAL WHERE log_id = " + quoteText(logID)
	if err := srv.queryRow(ctx, query, &n); err != nil {
		return 0, fmt.Errorf("count rows of table %s: %w", o.name(), err)
	}
	return n, nil
}
