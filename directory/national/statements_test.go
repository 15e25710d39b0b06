package national

import (
	"testing"
)

func TestStatements(t *testing.T) {
	im := house(t)
	conn, err := im.DB.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for name, sql := range map[string]string{
		"selectIndexes": selectIndexes, "giveUpOthers": giveUpOthers, "findBegun": findBegun, "restart": restart, "insertImport": insertImport,
		"takeStage": takeStage, "claimStage": claimStage, "ownStage": ownStage, "markStaged": markStaged, "keepStaged": keepStaged,
		"selectPart": selectPart, "findYounger": findYounger, "lockPart": lockPart, "flip": flip, "freeStage": freeStage, "keepDone": keepDone,
		"insertDeparted": insertDeparted, "deleteReturned": deleteReturned, "departedDomains": departedDomains, "deleteDeparted": deleteDeparted,
		"forgetDeparted": forgetDeparted, "forgetRefusals": forgetRefusals,
		"countPeople": countPeople, "selectEnding": selectEnding, "selectBack": selectBack, "seePeople": seePeople, "keepEnded": keepEnded,
		"forgetEnded": forgetEnded, "countSituations": countSituations, "endSituations": endSituations, "restoreSituations": restoreSituations,
		"seeSituations": seeSituations, "dropOurs": dropOurs, "selectLatest": selectLatest, "selectReports": selectReports, "selectRefusals": selectRefusals,
		"deleteRefusals": deleteRefusals, "insertRefusals": insertRefusals, "keepRefusedRun": keepRefusedRun, "selectChecked": selectChecked,
		"keepChecked": keepChecked, "findRefused": findRefused,
	} {
		for _, at := range [][2]string{{"a", "b"}, {"b", "a"}} {
			if _, err := conn.Conn().Prepare(t.Context(), name+at[0], parts(sql, at[0], at[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
