/* List schedules and their bounds: the loops of list_scheduler.py and bounds.py, cycle for cycle the same answers. */

#include "joins_bound.h"
#include "list_schedules.h"
#include "queue_bounds.h"
