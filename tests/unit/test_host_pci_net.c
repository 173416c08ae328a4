/* What the host does with its network cards. */
#include "daemon/host/pci.h"

#include <errno.h>

#include "proto/base/err.h"
#include "tests/unit/pci_tree.h"
#include "tests/unit/unit.h"

static const struct tree_entry interface[] = {
    {NIC "/net/eth0/address", "52:54:00:12:34:56\n", NULL},
    {"/sys/class/net/eth0", NULL, "../../devices/pci0000:00/0000:00:19.0/net/eth0"},
};

#define ROUTES "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"

START_TEST(the_way_of_the_default_route_is_the_hosts)
{
    static const char some[] =
        ROUTES "eth1\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
    static const char all[] = ROUTES "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
    struct err err = {0};

    tree_add(interface, ARRAY_LEN(interface));
    tree_bytes("/proc/1/net/route", some, strlen(some));
    ck_assert_str_eq(read_one("0000:00:19.0")->use, "");
    tree_bytes("/proc/1/net/route", all, strlen(all));
    ck_assert_str_eq(read_one("0000:00:19.0")->use, "interface 'eth0' has the default route");
    ck_assert_int_eq(pci_judge(&table, pci_find(&table, "0000:00:19.1"), &err), -EBUSY);
    ck_assert_str_eq(err.msg, "'0000:00:19.1' shares IOMMU group 7 with '0000:00:19.0', which the "
                              "host uses: interface 'eth0' has the default route; give the host "
                              "another one first");
}
END_TEST

START_TEST(an_interface_with_an_address_is_the_hosts)
{
    static const char net[] = ROUTES "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    static const char of_the_link[] = "fe8000000000000050540012fffe3456 02 40 20 80     eth0\n";
    static const char wide[] = "fe8000000000000050540012fffe3456 02 40 20 80     eth0\n"
                               "20010db8000000000000000000000001 02 40 00 80     eth0\n";
    static const char use[] = "interface 'eth0' has an address of the host's, or a route";
    struct err err = {0};

    tree_add(interface, ARRAY_LEN(interface));
    tree_bytes("/proc/1/net/if_inet6", of_the_link, strlen(of_the_link));
    ck_assert_str_eq(read_one("0000:00:19.0")->use, "");
    tree_bytes("/proc/1/net/if_inet6", wide, strlen(wide));
    ck_assert_str_eq(read_one("0000:00:19.0")->use, use);
    tree_bytes("/proc/1/net/if_inet6", "", 0);
    tree_bytes("/proc/1/net/route", net, strlen(net));
    ck_assert_str_eq(read_one("0000:00:19.0")->use, use);
    ck_assert_int_eq(pci_judge(&table, pci_find(&table, "0000:00:19.0"), &err), -EBUSY);
    ck_assert_str_eq(err.msg,
                     "'0000:00:19.0' is used by the host: interface 'eth0' has an address of the "
                     "host's, or a route; take them from it first (ip address flush, ip route "
                     "flush)");
}
END_TEST

START_TEST(a_default_route_of_ipv6_counts_unless_it_refuses)
{
#define ZEROS "00000000000000000000000000000000"
    static const char refuses[] =
        ZEROS " 00 " ZEROS " 00 " ZEROS " ffffffff 00000001 00000000 00200200     eth0\n";
    static const char leads[] =
        ZEROS " 00 " ZEROS " 00 fe800000000000000000000000000001 00000400 00000001 00000000 "
              "00000003     eth0\n";

    tree_add(interface, ARRAY_LEN(interface));
    tree_bytes("/proc/1/net/ipv6_route", refuses, strlen(refuses));
    ck_assert_str_eq(read_one("0000:00:19.0")->use, "");
    tree_bytes("/proc/1/net/ipv6_route", leads, strlen(leads));
    ck_assert_str_eq(read_one("0000:00:19.0")->use, "interface 'eth0' has the default route");
}
END_TEST

START_TEST(members_of_bonds_and_bridges_are_the_hosts)
{
    static const struct tree_entry bond[] = {
        {"/sys/class/net/bond0", NULL, "../../devices/virtual/net/bond0"},
        {"/sys/class/net/br0", NULL, "../../devices/virtual/net/br0"},
        {"/sys/devices/virtual/net/br0/lower_bond0", NULL, "../bond0"},
        {"/sys/devices/virtual/net/bond0/lower_eth0", NULL,
         "../../../pci0000:00/0000:00:19.0/net/eth0"},
    };
    static const char all[] = ROUTES "br0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";

    tree_add(interface, ARRAY_LEN(interface));
    tree_link(NIC "/net/eth0/master", "../../../../virtual/net/bond0");
    ck_assert_str_eq(read_one("0000:00:19.0")->use, "interface 'eth0' is a member of 'bond0'");
    tree_add(bond, ARRAY_LEN(bond));
    tree_bytes("/proc/1/net/route", all, strlen(all));
    ck_assert_str_eq(read_one("0000:00:19.0")->use,
                     "interface 'eth0' carries 'br0', which has the default route");
}
END_TEST

START_TEST(a_card_whose_interface_cannot_be_seen_may_be_somebodys)
{
    static const char use[] = "its driver 'e1000e' has it, and its interface cannot be seen: it "
                              "may be in another network namespace";

    ck_assert_str_eq(read_one("0000:00:19.1")->use, "");
    tree_link(OTHER "/driver", "../../../bus/pci/drivers/e1000e");
    ck_assert_str_eq(read_one("0000:00:19.1")->use, use);
    tree_link("/sys/class/net/eth1", "../../devices/pci0000:00/0000:00:19.1/net/eth1");
    ck_assert_str_eq(read_one("0000:00:19.1")->use, "");
    tree_link("/sys/class/net/eth1", "../../devices/virtual/net/eth1");
    tree_link(OTHER "/driver", "../../../bus/pci/drivers/vfio-pci");
    ck_assert_str_eq(read_one("0000:00:19.1")->use, "");
}
END_TEST

UNIT_MAIN_WITH("host_pci_net", pci_tree_setup, pci_tree_teardown,
               the_way_of_the_default_route_is_the_hosts, an_interface_with_an_address_is_the_hosts,
               a_default_route_of_ipv6_counts_unless_it_refuses,
               members_of_bonds_and_bridges_are_the_hosts,
               a_card_whose_interface_cannot_be_seen_may_be_somebodys)
