/* A session with one call and one generator: resume × credit × stop × close. README.md says what it proves.
 *
 * Bounds, all of them macros: ITEMS items, a window of WINDOW items, CUTS lost transports, KEEP frames kept for a
 * replay, WIRE frames on the way. RETRYING is a carrier that repeats and reorders (TW-SES-050). With DRAINING the server
 * goes away in two steps (TW-ERR-061); with RESUME_TELLS a RESUME says what comes again. MUTANT_… break a rule.
 */

#ifndef ITEMS
#define ITEMS 2
#endif
#ifndef WINDOW
#define WINDOW 1
#endif
#ifndef CUTS
#define CUTS 1
#endif
#ifndef KEEP
#define KEEP 2
#endif
#ifndef WIRE
#define WIRE 2
#endif
#ifndef TRICKS
#define TRICKS 1
#endif

#define FRAMES 16 /* positioned frames of a side, at most */
#define TRANSPORTS 3
#define CLIENT 0
#define SERVER 1

mtype = { CALL, STOP_CALL, END, ERROR, ITEM, END_ITEMS, RESET_ITEMS, STOP_ITEMS, GRANT, CLOSE, ACK, REFUSED, RESUME, RESUMED, GOAWAY };

/* What is on the way, by side and transport; the position of a frame is told only on a carrier that retries, and is
 * otherwise what the model knows and the peers do not. */
chan wire[6] = [WIRE] of { mtype, byte, byte };
#define OUT(side, transport) wire[(side) * TRANSPORTS + (transport)]

/* Sessions (chapter 7), by side. */
typedef Log { mtype name[FRAMES]; byte argument[FRAMES] };
Log kept[2];
byte sent[2];     /* positioned frames that were emitted */
byte cursor[2];   /* of these, how many have left on the transport in use: what is below sent is replayed */
byte acked[2];
byte taken[2];    /* positioned frames of the other side that were taken */
byte told[2];     /* and acknowledged */
byte at[2];       /* the transport in use */
bit resuming;     /* the client waits for RESUMED */
bit closed[2];
#ifdef RETRYING
bit refused[2];   /* what came too early is still to be answered */
#endif
bit graceful;     /* the client closed when its call was over */
byte cuts;
byte tricks;

/* What is wanted, and what goes wrong, is chosen before anything happens: so nothing that may happen hides what hangs. */
bit cancels, stops, fails, resets, client_leaves, server_leaves, expires;

/* The call and its generator, as the client sees it … */
bit called, cancelled, answered, over, open, ending, stopped;
byte answers, next_item, received, consumed, limit, held;
/* … and as the server does. */
bit running, stopping, replied, sending, server_over;
byte replies, items, spent, credit;

#ifdef RESUME_TELLS
#define emitted sent[CLIENT]
#define excused 0
#else
#define emitted 0
#define excused lost /* a RESUME may acknowledge the warning before a call that is older comes again */
#endif
#ifdef DRAINING
#define EVERY_CALL 2
bit warning, last_step, turns_away, drained; /* the server's steps; whether the call came too late for it */
byte warned_at, owed; /* what the client had emitted when it resumed, which comes again */
bit warned, barred, unwarned, lost, too_late; /* the client's: what it has heard, and had when it called; what befell it */
#define may_call (!called && !barred)
#else
#define may_call (!called)
#define turns_away 0
#define too_late 0
#endif

#define other(side) (1 - (side))
#define attached(side) (!(side == CLIENT && resuming))
#define may_emit(side) (!closed[side] && attached(side) && cursor[side] == sent[side] && sent[side] - acked[side] < KEEP && nfull(OUT(side, at[side])))

/* What is on the way where nobody takes anything any more is forgotten, so that there are fewer states. */
inline drain(side, transport) {
  do
  :: len(OUT(side, transport)) > 0 -> OUT(side, transport)?_,_,_
  :: len(OUT(side, transport)) == 0 -> break
  od
}

/* A new positioned frame: it has its position when it is emitted (TW-STR-065), and is kept (TW-SES-020). */
inline emit(side, frame, value) {
  assert(sent[side] < FRAMES);
  kept[side].name[sent[side]] = frame;
  kept[side].argument[sent[side]] = value;
  OUT(side, at[side])!frame,value,sent[side];
  sent[side]++;
  cursor[side] = sent[side]
}

/* A kept frame leaves again, with the same bytes, before any new one (TW-SES-022). */
inline replay(side) {
  OUT(side, at[side])!kept[side].name[cursor[side]],kept[side].argument[cursor[side]],cursor[side];
  cursor[side]++
}

inline acknowledge(side, count) {
  if
  :: count > acked[side] ->
    assert(count <= sent[side]);
    do
    :: acked[side] < count -> kept[side].name[acked[side]] = 0; kept[side].argument[acked[side]] = 0; acked[side]++
    :: else -> break
    od
  :: else
  fi
}

/* What the other side stated in RESUME or RESUMED is where the replay begins (TW-SES-037). */
inline replay_from(side, count) {
  assert(count >= acked[side] && count <= sent[side]); /* nothing is missing (TW-SES-038) */
  acknowledge(side, count);
#ifdef MUTANT_REPLAY_FROM_ACKED_PLUS_ONE
  cursor[side] = (count < sent[side] -> count + 1 : count)
#else
  cursor[side] = count
#endif
}

/* Whether a positioned frame is to be taken (TW-SES-003, TW-SES-051, TW-SES-052). */
inline place(side, place_of, take) {
  take = 0;
  if
#ifdef RETRYING
#ifdef MUTANT_GAP_IS_TAKEN
  :: place_of >= taken[side] ->
#else
  :: place_of == taken[side] ->
#endif
#else
  :: true -> /* order implies it (TW-SES-001) */
#endif
    assert(place_of == taken[side]); /* none lost, none twice, in order */
    taken[side]++;
    take = 1
#ifdef RETRYING
  :: place_of < taken[side] -> told[side] = taken[side] - 1 /* acknowledged again */
  :: place_of > taken[side] -> refused[side] = 1
#endif
  fi
}

/* ---- the client's application ------------------------------------------------------------------------- */

inline items_over() {
  open = 0;
  ending = 0;
  held = 0; /* what the half held goes back (TW-STR-038) */
  over = (answered -> 1 : over)
}

inline client_takes(frame, value) {
  if
  :: frame == END ->
    answers++;
    answered = 1;
    if
    :: cancelled -> over = 1 /* TW-MOD-052, TW-MOD-055 */
    :: else -> open = 1; limit = WINDOW; held = WINDOW
    fi
  :: frame == ERROR ->
#ifdef DRAINING
    too_late = value;
    assert(!too_late || !unwarned || excused); /* TW-ERR-061 */
#endif
    answers++;
    answered = 1;
    over = 1
#ifdef DRAINING
  :: frame == GOAWAY ->
    warned = 1;
    barred = (value != EVERY_CALL) /* TW-ERR-063 */
#endif
  :: frame == ITEM ->
    if
    :: open && !ending ->
      assert(value == next_item); /* in order, none lost, none twice */
      next_item++;
      received++;
      assert(received <= limit) /* TW-STR-032 */
    :: else -> assert(!open) /* stale (TW-MOD-030) */
    fi
  :: frame == END_ITEMS ->
    if
    :: open && consumed < received -> ending = 1
    :: open && consumed == received -> items_over()
    :: else
    fi
  :: frame == RESET_ITEMS ->
    if
    :: open -> consumed = received; items_over()
    :: else
    fi
  fi;
  assert(answers <= 1)
}

proctype Client() {
  mtype frame;
  byte value, position;
  bit take;
  do
  /* Calls, cancels, stops, consumes, grants. */
  :: atomic { may_emit(CLIENT) && may_call ->
      called = 1;
#ifdef DRAINING
      unwarned = !warned;
#endif
      emit(CLIENT, CALL, 0) }
  :: atomic { may_emit(CLIENT) && called && cancels && !cancelled && !over ->
      cancelled = 1;
      emit(CLIENT, STOP_CALL, 0);
      if
      :: answered -> open = 0; ending = 0; held = 0; over = 1 /* TW-MOD-053 */
      :: else
      fi }
  :: atomic { may_emit(CLIENT) && stops && open && !stopped -> stopped = 1; emit(CLIENT, STOP_ITEMS, 0); items_over() }
  :: atomic { !closed[CLIENT] && open && consumed < received ->
      consumed++;
      if
      :: ending && consumed == received -> items_over()
      :: else
      fi }
  :: atomic { may_emit(CLIENT) && open && !ending && consumed + WINDOW - limit >= (WINDOW + 1) / 2 ->
      limit = consumed + WINDOW;
      emit(CLIENT, GRANT, limit) }
  /* Closes: at the end, or before. */
  :: atomic { !closed[CLIENT] && attached(CLIENT) && cursor[CLIENT] == sent[CLIENT] && nfull(OUT(CLIENT, at[CLIENT])) && called && (over || client_leaves) ->
      graceful = over;
      assert(!over || held == 0); /* all credit has come back */
      assert(!over || answers == 1);
      assert(!over || cancelled || stopped || fails || resets || too_late || (consumed == ITEMS && next_item == ITEMS));
      OUT(CLIENT, at[CLIENT])!CLOSE,0,0;
      closed[CLIENT] = 1 }
  /* The session. */
  :: atomic { !closed[CLIENT] && attached(CLIENT) && cursor[CLIENT] < sent[CLIENT] && nfull(OUT(CLIENT, at[CLIENT])) -> replay(CLIENT) }
  :: atomic { !closed[CLIENT] && attached(CLIENT) && told[CLIENT] < taken[CLIENT] && nfull(OUT(CLIENT, at[CLIENT])) ->
      told[CLIENT] = taken[CLIENT];
      OUT(CLIENT, at[CLIENT])!ACK,taken[CLIENT],0 }
#ifdef RETRYING
  :: atomic { !closed[CLIENT] && attached(CLIENT) && refused[CLIENT] && nfull(OUT(CLIENT, at[CLIENT])) ->
      refused[CLIENT] = 0;
      OUT(CLIENT, at[CLIENT])!REFUSED,taken[CLIENT],0 }
#endif
  :: atomic { !closed[CLIENT] && cuts > 0 && called -> /* also while it resumes */
      cuts--;
#ifdef DRAINING
      lost = 1;
#endif
#ifndef MUTANT_OLD_TRANSPORT_SPEAKS
      drain(SERVER, at[CLIENT]); /* TW-SES-033 */
#endif
      at[CLIENT]++;
      resuming = 1;
      told[CLIENT] = taken[CLIENT];
      OUT(CLIENT, at[CLIENT])!RESUME,taken[CLIENT],emitted }
#ifdef MUTANT_OLD_TRANSPORT_SPEAKS
  :: atomic { !closed[CLIENT] && resuming && OUT(SERVER, at[CLIENT] - 1)?[ITEM,value,position] ->
      OUT(SERVER, at[CLIENT] - 1)?frame,value,position;
      place(CLIENT, position, take);
      client_takes(frame, value) }
#endif
  :: atomic { !closed[CLIENT] && nempty(OUT(SERVER, at[CLIENT])) ->
      OUT(SERVER, at[CLIENT])?frame,value,position;
      if
      :: frame == RESUMED -> replay_from(CLIENT, value); resuming = 0
      :: frame == CLOSE ->
#ifdef DRAINING
        assert(!drained || !called || answered || excused); /* TW-ERR-064: nothing that is open is cut off */
        assert(!drained || !open || ending);
#endif
        closed[CLIENT] = 1
      :: frame == ACK -> acknowledge(CLIENT, value)
#ifdef RETRYING
      :: frame == REFUSED -> acknowledge(CLIENT, value); cursor[CLIENT] = (value < acked[CLIENT] -> acked[CLIENT] : value)
#endif
      :: else ->
        assert(!resuming);
        place(CLIENT, position, take);
        if
        :: take -> client_takes(frame, value)
        :: else
        fi
      fi }
  :: closed[CLIENT] -> break
  od
}

/* ---- the server's application ------------------------------------------------------------------------- */

inline server_takes(frame, value) {
  if
  :: frame == CALL ->
    assert(!running && !replied);
#ifdef DRAINING
    turns_away = last_step; /* TW-ERR-060 */
#endif
    running = 1
  :: frame == STOP_CALL ->
    if
    :: running -> stopping = 1
    :: else -> sending = 0; server_over = 1 /* TW-MOD-053, TW-MOD-054 */
    fi
  :: frame == STOP_ITEMS -> sending = 0 /* TW-STR-006 */
  :: frame == GRANT ->
#ifdef MUTANT_GRANT_ADDS
    credit = credit + value
#else
    credit = (value > credit -> value : credit) /* TW-STR-033 */
#endif
  fi
}

inline reply(frame, value_of) {
  running = 0;
  replied = 1;
  replies++;
  assert(replies <= 1); /* TW-CAL-010 */
  emit(SERVER, frame, value_of)
}

/* RESUME may come while the old transport looks alive: nothing more is taken from that (TW-SES-036). */
inline server_resumes(transport) {
  OUT(CLIENT, transport)?frame,value,position;
  assert(frame == RESUME);
  drain(CLIENT, at[SERVER]);
#ifndef MUTANT_OLD_TRANSPORT_SPEAKS
  drain(SERVER, at[SERVER]);
#endif
  at[SERVER] = transport;
  if
  :: closed[SERVER] -> OUT(SERVER, transport)!CLOSE,0,0 /* SESSION_LOST (TW-SES-034) */
  :: else ->
    told[SERVER] = taken[SERVER];
#ifdef RESUME_TELLS
    owed = position;
#endif
    replay_from(SERVER, value);
    OUT(SERVER, transport)!RESUMED,taken[SERVER],0
  fi
}

proctype Server() {
  mtype frame;
  byte value, position;
  bit take;
  do
  /* Answers, gives items. */
  :: atomic { may_emit(SERVER) && running && !stopping && !fails && !turns_away ->
      sending = 1;
      credit = WINDOW;
      reply(END, 0) }
  :: atomic { may_emit(SERVER) && running && !stopping && (fails || turns_away) -> reply(ERROR, turns_away) }
#ifndef MUTANT_STOP_IS_NOT_ANSWERED
  :: atomic { may_emit(SERVER) && running && stopping -> reply(ERROR, turns_away) } /* TW-CAL-034 */
#endif
#ifdef DRAINING
  /* Goes away: warns, states its last call once that was heard, and closes when nothing is open (TW-ERR-061, TW-ERR-064). */
  :: atomic { may_emit(SERVER) && !warning ->
      warning = 1;
      emit(SERVER, GOAWAY, EVERY_CALL);
      warned_at = sent[SERVER] }
#ifdef MUTANT_GOAWAY_IN_ONE_STEP
  :: atomic { may_emit(SERVER) && warning && !last_step ->
#else
  :: atomic { may_emit(SERVER) && warning && !last_step && acked[SERVER] >= warned_at && taken[SERVER] >= owed ->
#endif
      last_step = 1;
      emit(SERVER, GOAWAY, (running || replied)) }
#ifdef MUTANT_DRAIN_CUTS_OFF
  :: atomic { !closed[SERVER] && last_step && !running && !sending && nfull(OUT(SERVER, at[SERVER])) ->
#else
  :: atomic { !closed[SERVER] && last_step && !running && !sending && acked[SERVER] == sent[SERVER] && taken[SERVER] >= owed && nfull(OUT(SERVER, at[SERVER])) ->
#endif
      drained = 1;
      OUT(SERVER, at[SERVER])!CLOSE,0,0;
      closed[SERVER] = 1 }
#endif
  :: atomic { may_emit(SERVER) && sending && items < ITEMS && spent < credit ->
      spent++;
      emit(SERVER, ITEM, items);
      items++ }
  :: atomic { may_emit(SERVER) && sending && items == ITEMS && !resets -> sending = 0; emit(SERVER, END_ITEMS, 0) }
  :: atomic { may_emit(SERVER) && sending && items > 0 && resets -> sending = 0; emit(SERVER, RESET_ITEMS, 0) }
  /* Closes before the end; what never comes back ends the session. */
  :: atomic { !closed[SERVER] && server_leaves && called && nfull(OUT(SERVER, at[SERVER])) -> OUT(SERVER, at[SERVER])!CLOSE,0,0; closed[SERVER] = 1 }
  :: atomic { !closed[SERVER] && expires && at[CLIENT] > at[SERVER] -> closed[SERVER] = 1 } /* TW-SES-041 */
  :: atomic { !closed[SERVER] && closed[CLIENT] -> closed[SERVER] = 1 } /* its CLOSE, or the end of the transport */
  /* The session. */
  :: atomic { !closed[SERVER] && cursor[SERVER] < sent[SERVER] && nfull(OUT(SERVER, at[SERVER])) -> replay(SERVER) }
  :: atomic { !closed[SERVER] && told[SERVER] < taken[SERVER] && nfull(OUT(SERVER, at[SERVER])) ->
      told[SERVER] = taken[SERVER];
      OUT(SERVER, at[SERVER])!ACK,taken[SERVER],0 }
#ifdef RETRYING
  :: atomic { !closed[SERVER] && refused[SERVER] && nfull(OUT(SERVER, at[SERVER])) ->
      refused[SERVER] = 0;
      OUT(SERVER, at[SERVER])!REFUSED,taken[SERVER],0 }
#endif
  :: atomic { at[SERVER] == 0 && nempty(OUT(CLIENT, 1)) -> server_resumes(1) }
  :: atomic { at[SERVER] < 2 && nempty(OUT(CLIENT, 2)) -> server_resumes(2) }
  :: atomic { !closed[SERVER] && nempty(OUT(CLIENT, at[SERVER])) ->
      OUT(CLIENT, at[SERVER])?frame,value,position;
      if
      :: frame == CLOSE -> closed[SERVER] = 1
      :: frame == ACK -> acknowledge(SERVER, value)
#ifdef RETRYING
      :: frame == REFUSED -> acknowledge(SERVER, value); cursor[SERVER] = (value < acked[SERVER] -> acked[SERVER] : value)
#endif
      :: else ->
        place(SERVER, position, take);
        if
        :: take -> server_takes(frame, value)
        :: else
        fi
      fi }
  :: atomic { closed[SERVER] && closed[CLIENT] -> break }
  od
}

#ifdef RETRYING
/* The carrier sends a frame twice, or lets the next ones overtake it. */
proctype Carrier() {
  mtype frame;
  byte value, position, i;
end:
  do
  :: atomic { tricks > 0 && !(closed[CLIENT] && closed[SERVER]) ->
      tricks--;
      select(i : 0 .. 5);
      if
      :: nempty(wire[i]) && !wire[i]?[RESUME,value,position] && !wire[i]?[RESUMED,value,position] ->
        wire[i]?<frame,value,position>;
        if
        :: frame != RESUME && frame != RESUMED && frame != CLOSE ->
          if
          :: nfull(wire[i]) -> wire[i]!frame,value,position
          :: true -> wire[i]?frame,value,position; wire[i]!frame,value,position
          fi
        :: else
        fi
      :: else
      fi }
  od
}
#endif

init {
  atomic {
    select(cuts : 0 .. CUTS);
#ifdef RETRYING
    if :: skip :: cancels = 1 :: stops = 1 fi;
    select(tricks : 0 .. TRICKS);
    run Carrier();
#elif defined(DRAINING)
    if :: skip :: cancels = 1 :: stops = 1 :: fails = 1 :: resets = 1 fi;
#else
    if :: skip :: cancels = 1 fi;
    if :: skip :: stops = 1 fi;
    if :: skip :: fails = 1 :: resets = 1 fi;
    if :: skip :: client_leaves = 1 :: server_leaves = 1 :: expires = 1 fi;
#endif
    run Client();
    run Server()
  }
}
