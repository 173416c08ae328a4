/* A Unix socket that answers a plain HTTP GET with Prometheus text, for a scraper or a proxy.
 *
 * It only reads. Few connections at once, each with a short request and little time: who is slow
 * is cut, and nobody else waits. Loop thread. */
#ifndef QVM_DAEMON_METRICS_SCRAPE_H
#define QVM_DAEMON_METRICS_SCRAPE_H

#include <sys/types.h>

struct err;
struct scrape;
struct scraper;
struct uv_loop_s;

#define SCRAPE_CLIENTS_MAX 8     /* connections at once; more are closed */
#define SCRAPE_REQUEST_MAX 8192  /* bytes of a request's head */
#define SCRAPE_MS          10000 /* from the connection to the last byte taken */

/* Somebody wants the text: give it to scrape_answer(), now or later, once. */
typedef void (*scrape_fn)(void *context, struct scraper *scraper);

/* Listen at `path`; a socket that was left there is replaced, anything else is refused. With
 * `gid`, its members may connect, too; (gid_t)-1: nobody else. */
int scrape_create(struct uv_loop_s *loop, const char *path, gid_t gid, scrape_fn on_scrape,
                  void *context, struct scrape **scrape, struct err *err);

/* `text` (heap, NULL: memory is out) becomes ours, also when the scraper has gone. */
void scrape_answer(struct scraper *scraper, char *text);

/* Cuts all; the memory goes when the loop has run the closing of its handles. Answers that are
 * still due must come before. NULL is fine. */
void scrape_destroy(struct scrape *scrape);

#endif
