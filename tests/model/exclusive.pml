/* Nothing is given twice, and nothing stays taken: the protocol of start, grant, crash, adoption
 * and release, small enough to be walked whole by spin. What stands for what:
 *
 *   row, ended, pid_known, claim   tables `instance` and `claim`    daemon/store, daemon/reserve.c
 *   identity                       the file beside the store        daemon/worker/identity.c
 *   store_lock                     the lock taken before opening    daemon/store/lock.c
 *   copies                         who has a descriptor of the image, as
 *                                  the run's hand opened it, and with
 *                                  it the kernel's lock             daemon/hand, guest/grant.c
 *   qvmd()                         a daemon, over its lives         daemon/guest/{start,grant,end,
 *                                                                   adopt,rebuild,release}.c
 *   process                        a qvm                            qvm-worker/under.c
 *   home, work                     which driver has the device, and  daemon/host/pci_bind.c
 *                                  the system calls of hands that
 *                                  change it, which outlive a qvmd
 *   written, given                 table `device`, and the hand that  guest/device*.c
 *                                  brings it home
 *
 * Each guest wants the same thing for itself: an image to write, which a lock of the kernel's
 * guards besides the claim; or (KIND CPUS) CPUs, which only the claim guards; or a device, whose
 * group the kernel opens once, and whose driver gets it back. A transaction, and whatever else is
 * one step for those who look, is one d_step: crashes fall between them. Beyond the model: bytes of
 * packets, time, what many may have, I/O errors, numbers of lost runs, resets that fail.
 *
 * MUTANT breaks one rule; spin has to find that (walk.sh):
 *   1 a daemon does not wait for the store's lock   5 the identity is written after the grant
 *   2 the claim is written after the grant          6 lost rows are not rebuilt
 *   3 who is told to stop has let go                7 locks do not count
 *   4 the pid is written after the grant            8 what a dead qvm held is let go of by nobody
 *                                                   9 the dead are rebuilt with what they held
 *  10 hands do not wait for each other             11 devices of the dead are not rebuilt
 *  12 where a device belongs is written when it was taken
 * 1-6 show with CPUs only: the kernel's lock alone keeps an image safe. 10-12 are of devices. */

#ifndef MUTANT
#define MUTANT 0
#endif

#define CPUS   0
#define IMAGE  1
#define DEVICE 2

#ifndef KIND
#define KIND IMAGE
#endif

#define HAS_LOCK (KIND != CPUS -> 1 : 0)

#define GUESTS       2
#define DAEMONS      2
#define RUNS         3 /* instances in all; SERVE, RELEASE and others name each */
#define QVMD_DEATHS  2
#define STORE_LOSSES 1
#define NOBODY       7

/* ---- on the disk ---- */

bool row[RUNS], ended[RUNS], pid_known[RUNS], identity[RUNS];
byte guest_of[RUNS];
byte runs = 0;
byte claim = NOBODY;
bool written = false;

/* ---- in the kernel ---- */

/* What a process has come to. */
#define UNBORN  0
#define WAITING 1
#define GRANTED 2 /* the packet lies in its socket */
#define RUNNING 3 /* the first guest instruction was executed */
#define DEAD    4

/* Who has a copy, as bits. */
#define WITH_QVMD 1
#define WITH_QVM  2 /* in its socket counts */
#define WITH_IO   4 /* writes of a dead process that the kernel has not ended */

byte store_lock = NOBODY;
byte process[RUNS], copies[RUNS];
byte connected[RUNS] = NOBODY; /* to which daemon */

bool home = true; /* its driver has the device; else VFIO */

/* A hand works on the device, as bits; the other kind waits for it. */
#define TAKES 1
#define GIVES 2
byte work = 0;

/* ---- in the memory of daemons; lost with their lives ---- */

/* How far the start of a guest has come. */
#define IDLE         0
#define BEGUN        1
#define PROCESS_MADE 2
#define PID_WRITTEN  3
#define OPENED       4
#define CLAIMED      5
#define KEPT         6
#define TAKING       7
#define TAKEN        8
#define SENT         9
#define WATCHED      10

#define PHASE(g) phase[2 * me + (g)]
#define RUN(g)   run_of[2 * me + (g)]
byte phase[4], run_of[4];
bool lives[DAEMONS];
byte qvmd_deaths = 0, losses = 0;
byte given[DAEMONS] = NOBODY; /* for whom its hand brings the device home */
#define SWEEP 6               /* for nobody */

#define IS_LIVE(r) (process[r] != UNBORN && process[r] != DEAD)

/* The image's lock, as somebody sees it who opens it anew for run `r`. */
#define IS_LOCKED_FOR(r)                                                                           \
    ((r != 0 && copies[0] != 0) || (r != 1 && copies[1] != 0) || (r != 2 && copies[2] != 0))

#define IS_HELD (copies[0] != 0 || copies[1] != 0 || copies[2] != 0)

inline drop_copy(r)
{
    copies[r] = copies[r] & ~WITH_QVMD
}

inline die(r)
{
    copies[r] = (copies[r] & WITH_QVMD) | (process[r] == RUNNING && KIND == IMAGE -> WITH_IO : 0);
    process[r] = DEAD
}

/* What a new life finds: rows; and where they were lost, what is kept beside them, of the living
 * first, for the dead hold nothing any more (rebuild.c). */
#define IS_LOST(r) (r < runs && !row[r] && identity[r] && MUTANT != 6)

inline rebuild_living(r)
{
    if
    :: IS_LOST(r) && IS_LIVE(r) -> row[r] = true; ended[r] = false; pid_known[r] = true;
        assert(claim == NOBODY);
        claim = r;
        written = (KIND == DEVICE)
    :: else
    fi
}

inline adopt_run(r)
{
    if
    :: IS_LOST(r) -> row[r] = true; ended[r] = false; pid_known[r] = true;
        claim = (MUTANT == 9 -> r : claim);
        written = (written || (KIND == DEVICE && MUTANT != 11))
    :: else
    fi;
    if
    :: row[r] && !ended[r] && !pid_known[r] ->
        ended[r] = true /* qvmd ended before the guest had a process */
    :: row[r] && !ended[r] && pid_known[r] && process[r] == DEAD -> ended[r] = true
    :: row[r] && !ended[r] && pid_known[r] && process[r] != DEAD ->
        RUN(guest_of[r]) = r;
        PHASE(guest_of[r]) = WATCHED;
        connected[r] = me
    :: else
    fi
}

/* Its process is told, and ends. */
inline deny(r)
{
    drop_copy(r);
    die(r)
}

/* What a mutant does after the grant and should have done before. */
inline late_steps(r)
{
    if
    :: MUTANT == 2 && claim == NOBODY -> claim = r
    :: MUTANT == 4 -> pid_known[r] = true
    :: MUTANT == 5 -> identity[r] = true
    :: else
    fi
}

/* A hand locks the device first. One that was killed keeps that while the kernel works for it. */
#define CAN_WORK (work == 0 || MUTANT == 10)

/* One of a mutant that does not wait is done before the one of an earlier life. */
inline begin_giving(r)
{
    given[me] = r;
    home = (home || (work & GIVES) != 0);
    work = work | GIVES
}

#define HAS_RUN(g, r) (row[r] && !ended[r] && guest_of[r] == g)

/* What may be done next for guest `g`: options of a daemon's loop. */
#define SERVE(g)                                                                                   \
    :: d_step { PHASE(g) == IDLE && runs < RUNS && !HAS_RUN(g, 0) && !HAS_RUN(g, 1) ->             \
           RUN(g) = runs; runs++; guest_of[RUN(g)] = g; row[RUN(g)] = true; PHASE(g) = BEGUN }     \
    :: d_step { PHASE(g) == BEGUN -> process[RUN(g)] = WAITING; connected[RUN(g)] = me;            \
           PHASE(g) = (MUTANT == 4 -> PID_WRITTEN : PROCESS_MADE) }                                \
    :: d_step { PHASE(g) == PROCESS_MADE -> pid_known[RUN(g)] = true; PHASE(g) = PID_WRITTEN }     \
    :: d_step { PHASE(g) == PID_WRITTEN && IS_LIVE(RUN(g)) -> /* a hand opens, and locks */        \
           if                                                                                      \
           :: KIND == DEVICE -> PHASE(g) = OPENED                                                  \
           :: KIND != DEVICE && IS_LOCKED_FOR(RUN(g)) && MUTANT != 7 -> deny(RUN(g))               \
           :: else -> copies[RUN(g)] = HAS_LOCK * WITH_QVMD;                                       \
               PHASE(g) = (MUTANT == 2 -> KEPT : OPENED)                                           \
           fi }                                                                                    \
    :: d_step { PHASE(g) == OPENED && IS_LIVE(RUN(g)) -> /* all or nothing */                      \
           if                                                                                      \
           :: claim == NOBODY -> claim = RUN(g); PHASE(g) = (MUTANT == 5 -> KEPT : CLAIMED);       \
               written = (KIND == DEVICE && (written || MUTANT != 12))                             \
           :: else -> deny(RUN(g))                                                                 \
           fi }                                                                                    \
    :: d_step { PHASE(g) == CLAIMED -> identity[RUN(g)] = true; PHASE(g) = KEPT }                  \
    :: d_step { KIND == DEVICE && PHASE(g) == KEPT && IS_LIVE(RUN(g)) && CAN_WORK ->               \
           work = work | TAKES; PHASE(g) = TAKING }                                                \
    :: d_step { PHASE(g) == TAKING && !(work & TAKES) && IS_LIVE(RUN(g)) -> /* its hand opens */   \
           written = (written || MUTANT == 12);                                                    \
           if                                                                                      \
           :: IS_LOCKED_FOR(RUN(g)) -> deny(RUN(g))                                                \
           :: else -> assert(!home); copies[RUN(g)] = WITH_QVMD; PHASE(g) = TAKEN                  \
           fi }                                                                                    \
    :: d_step { PHASE(g) == (KIND == DEVICE -> TAKEN : KEPT) && IS_LIVE(RUN(g)) ->                 \
           process[RUN(g)] = GRANTED;                                                              \
           copies[RUN(g)] = copies[RUN(g)] | HAS_LOCK * WITH_QVM; PHASE(g) = SENT }                \
    :: d_step { PHASE(g) == SENT -> drop_copy(RUN(g)); late_steps(RUN(g)); PHASE(g) = WATCHED }    \
    :: d_step { MUTANT == 3 && PHASE(g) == WATCHED && IS_LIVE(RUN(g)) && claim == RUN(g) ->        \
           claim = NOBODY }                                                                        \
    :: d_step { PHASE(g) > BEGUN && process[RUN(g)] == DEAD -> /* its pidfd says so */             \
           drop_copy(RUN(g)); ended[RUN(g)] = true; PHASE(g) = IDLE }

/* A dead run lets go of what it held; of a file when the kernel does. */
#define RELEASE(r)                                                                                 \
    :: d_step { row[r] && ended[r] && claim == r && MUTANT != 8 && !written &&                     \
           (copies[r] == 0 || MUTANT == 7) -> claim = NOBODY }                                     \
    :: d_step { row[r] && ended[r] && claim == r && written && given[me] == NOBODY && !IS_HELD &&  \
           CAN_WORK -> begin_giving(r) }                                                           \
    :: d_step { given[me] == r && IS_GIVEN ->                                                      \
           claim = NOBODY; written = false; given[me] = NOBODY }                                   \
    :: d_step { row[r] && ended[r] && claim != r && identity[r] -> identity[r] = false }

#define IS_GIVEN (!(work & GIVES) || MUTANT == 10)

/* What is in VFIO's hands and nobody's. */
#define SWEEP_UP                                                                                   \
    :: d_step { written && claim == NOBODY && given[me] == NOBODY && !IS_HELD && CAN_WORK ->       \
           begin_giving(SWEEP) }                                                                   \
    :: d_step { given[me] == SWEEP && IS_GIVEN -> /* unless a guest wants it meanwhile */          \
           written = (claim != NOBODY && written); given[me] = NOBODY }

proctype qvmd(byte me)
{
    do /* a life each time */
    :: d_step {
           store_lock == NOBODY || MUTANT == 1 ->
           store_lock = me;
           lives[me] = true
       };
       {
           d_step { rebuild_living(0); rebuild_living(1); rebuild_living(2) };
           d_step { adopt_run(0); adopt_run(1); adopt_run(2) };
           do
           SERVE(0)
           SERVE(1)
           RELEASE(0)
           RELEASE(1)
           RELEASE(2)
           SWEEP_UP
           od
       } unless { !lives[me] }
    od
}

/* ---- what goes on without them, and what goes wrong ---- */

#define FATE_OF_QVMD(d)                                                                            \
    :: d_step { lives[d] && qvmd_deaths < QVMD_DEATHS -> qvmd_deaths++; lives[d] = false;          \
           store_lock = (store_lock == d -> NOBODY : store_lock);                                  \
           given[d] = NOBODY; phase[2 * d] = IDLE; phase[2 * d + 1] = IDLE;                        \
           run_of[2 * d] = 0; run_of[2 * d + 1] = 0;                                               \
           lose(d, 0); lose(d, 1); lose(d, 2) }

inline lose(d, r)
{
    if
    :: connected[r] == d -> connected[r] = NOBODY; drop_copy(r)
    :: else
    fi
}

/* Granted, it runs, perhaps by one who is dead by now. Not granted by a dead one, it ends. */
#define FATE_OF_QVM(r)                                                                             \
    :: d_step { process[r] == GRANTED -> process[r] = RUNNING;                                     \
           assert(process[(r + 1) % RUNS] != RUNNING && process[(r + 2) % RUNS] != RUNNING);       \
           assert(!IS_LOCKED_FOR(r) && !(KIND == DEVICE && home)) }                                \
    :: d_step { (process[r] == WAITING || process[r] == GRANTED) && connected[r] == NOBODY ->      \
           die(r) }                                                                                \
    :: d_step { IS_LIVE(r) -> die(r) }                                                             \
    :: d_step { (copies[r] & WITH_IO) -> copies[r] = copies[r] & ~WITH_IO }

/* The kernel does what hands have asked for, whether they live or not. */
#define FATE_OF_HANDS                                                                              \
    :: d_step { (work & TAKES) -> home = false; work = work & ~TAKES }                             \
    :: d_step { (work & GIVES) -> assert(!IS_HELD); home = true; work = work & ~GIVES }

#define IS_HOME (claim != NOBODY || (home && !written))

#define IS_FREE_AFTER(r) (process[r] != DEAD || (claim != r && copies[r] == 0))

proctype fate()
{
    do
    FATE_OF_QVMD(0)
    FATE_OF_QVMD(1)
    FATE_OF_QVM(0)
    FATE_OF_QVM(1)
    FATE_OF_QVM(2)
    FATE_OF_HANDS
    :: d_step { store_lock == NOBODY && losses < STORE_LOSSES -> losses++; claim = NOBODY;
           written = false;
           row[0] = false; row[1] = false; row[2] = false }
    /* Nobody can do anything: everything of the dead is free. */
    :: timeout -> assert(IS_FREE_AFTER(0) && IS_FREE_AFTER(1) && IS_FREE_AFTER(2) && IS_HOME); break
    od
}

init
{
    atomic {
        run qvmd(0);
        run qvmd(1);
        run fate()
    }
}
